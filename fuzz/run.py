"""`./dev fuzz [TARGET|all] [TIME]`: runs fuzz targets that `./dev build fuzz` has built, each for TIME (20s, 5m, 1h), and
prints a line of verdict for each. Exit 1 when one found something; the input is kept at the path that is printed.

What a target finds new goes to build/fuzz/corpus/TARGET, beside the corpus in git (fuzz/corpus/TARGET).
`./dev fuzz minimise [TARGET|all]` makes the corpus in git the smallest that covers the same as both together.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/fuzz"
FOUND = BUILD / "findings"
UNITS = {"s": 1, "m": 60, "h": 3600}
MOST_KEPT = 128 << 10  # bytes of a target that minimise keeps in git, small ones first


def targets():
    """Name → program; one that has a source and no program is an error, but for what a build may leave out."""
    built = {p.name: p for p in BUILD.rglob("*_fuzz") if p.is_file() and os.access(p, os.X_OK)}
    listed = subprocess.run(["git", "ls-files", "*_fuzz.cc"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    sources = {pathlib.Path(line).stem for line in listed} or set(built)
    missing = sources - set(built) - {"h1_llhttp_fuzz", "h1_llhttp_response_fuzz"}
    if missing:
        sys.exit(f"fuzz: not built: {', '.join(sorted(missing))}; run ./dev build fuzz")
    if "h1_llhttp_fuzz" not in built:
        print("h1_llhttp_*_fuzz        SKIPPED: no llhttp here; ./dev setup installs Debian's node-llhttp", flush=True)
    return {name: built[name] for name in sorted(sources & set(built))}


def seconds(text):
    m = re.fullmatch(r"(\d+)([smh]?)", text)
    if not m:
        sys.exit(f"fuzz: {text!r}: a time is a whole number and s, m or h, such as 60s")
    return int(m[1]) * UNITS[m[2] or "s"]


def folders(name):
    """The corpus that grows, and the one in git."""
    new, kept = BUILD / "corpus" / name, ROOT / "fuzz/corpus" / name
    new.mkdir(parents=True, exist_ok=True)
    return new, kept


def fuzz(name, program, duration):
    """Runs one target; gives (did it find something, its line)."""
    new, kept = folders(name)
    before = len(list(new.iterdir()))
    findings = FOUND / name
    findings.mkdir(parents=True, exist_ok=True)
    old = set(findings.iterdir())
    log = BUILD / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    words = [program, f"-max_total_time={duration}", f"-artifact_prefix={findings}/", "-print_final_stats=1", "-timeout=20", "-rss_limit_mb=2560",
             "-max_len=32768", new, *([kept] if kept.is_dir() else [])]
    with open(log, "w") as out:
        done = subprocess.run([str(w) for w in words], stdout=out, stderr=subprocess.STDOUT, cwd=BUILD)
    text = log.read_text(errors="replace")
    stats = dict(re.findall(r"stat::(\w+):\s+(\d+)", text))
    runs = int(stats.get("number_of_executed_units", 0))
    found = sorted(set(findings.iterdir()) - old)
    bad = done.returncode != 0 or bool(found)
    line = f"{name:24}{'FOUND' if bad else 'ok':7}{runs:>10} runs {runs // max(1, duration):>7}/s {len(list(new.iterdir())) - before:>5} new"
    if bad:
        why = re.search(r".*(?:broken invariant|runtime error|ERROR:).*", text)
        line += f"\n  {why[0] if why else f'exit {done.returncode}'}\n  input: {', '.join(map(str, found)) or 'none kept'}\n  log: {log}"
    return bad, line


def minimise(name, program):
    new, kept = folders(name)
    kept.mkdir(parents=True, exist_ok=True)
    before = len(list(kept.iterdir()))
    with tempfile.TemporaryDirectory(dir=BUILD) as out:
        words = [program, "-set_cover_merge=1", "-use_counters=0", "-max_len=65536", out, kept, new]
        done = subprocess.run([str(w) for w in words], capture_output=True, cwd=BUILD)
        files = sorted(pathlib.Path(out).iterdir(), key=lambda p: p.stat().st_size)
        if done.returncode != 0 or not files:
            return True, f"{name:24}FAILED: -merge ended with {done.returncode}"
        # What people named stays, under its name: it says what it is for.
        for path in kept.iterdir():
            if re.fullmatch(r"[0-9a-f]{40}", path.name):
                path.unlink()
        room = MOST_KEPT
        for path in files:
            room -= path.stat().st_size
            if room > 0 and not any(path.read_bytes() == p.read_bytes() for p in kept.iterdir() if p.stat().st_size == path.stat().st_size):
                shutil.copy(path, kept / path.name)
    return False, f"{name:24}ok     {before} files before, {len(list(kept.iterdir()))} after"


def main():
    words = sys.argv[1:]
    minimising = words[:1] == ["minimise"]
    words = words[1:] if minimising else words
    if len(words) == 1 and re.fullmatch(r"\d+[smh]?", words[0]):
        words.insert(0, "all")
    wanted = words[0] if words else "all"
    duration = seconds(words[1]) if len(words) > 1 else 20
    known = targets()
    if wanted != "all" and wanted not in known:
        sys.exit(f"fuzz: no target {wanted}; there are: {', '.join(known)}")
    chosen = known if wanted == "all" else {wanted: known[wanted]}
    work = minimise if minimising else lambda name, program: fuzz(name, program, duration)
    findings = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for bad, line in pool.map(work, chosen.keys(), chosen.values()):
            findings += bad
            print(line, flush=True)
    print(f"{len(chosen)} targets, {findings} with findings", flush=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
