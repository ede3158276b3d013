"""Runs commands one after the other and writes down how each ended; in a pod, so that many cases need only one.

batch.py FILE OUT    FILE: {"name": [word, …], …} as JSON; OUT: {"name": [exit code, "the end of its output"], …}
"""
import json
import pathlib
import subprocess
import sys


def run(words, seconds=30):
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
        return done.returncode, done.stdout.decode(errors="replace")[-2000:]
    except subprocess.TimeoutExpired as e:
        return -1, f"not done after {seconds} s; {(e.stdout or b'').decode(errors='replace')[-2000:]}"


def main():
    commands = json.loads(pathlib.Path(sys.argv[1]).read_text())
    pathlib.Path(sys.argv[2]).write_text(json.dumps({name: run(words) for name, words in commands.items()}))


if __name__ == "__main__":
    main()
