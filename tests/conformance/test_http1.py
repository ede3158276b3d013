"""HTTP/1.1 through real proxies, row by row (http1/README.md)."""
import pathlib
import re
import subprocess

from support.mesh import PYTHON

TOOL = "HTTP/1.1 rows"
HTTP1 = pathlib.Path(__file__).resolve().parent / "http1"
ROWS = sum(line.startswith("= ") for name in ("requests", "responses") for line in (HTTP1 / f"{name}.txt").read_text().splitlines())


def judge(cases, where, output):
    *wrong, last = output.strip().splitlines()
    numbers = re.fullmatch(r"(\d+) rows, (\d+) replays", last)
    assert numbers, output
    print(last)
    cases(where, wrong, int(numbers.group(1)), ROWS)


def test_rows_through_the_inbound_proxy(recorder, cases):
    """Plaintext, straight at the pod's port."""
    done = subprocess.run([PYTHON, HTTP1 / "replay.py", recorder.address("recorder"), "8080", recorder.folder / "log"],
                          text=True, stdout=subprocess.PIPE, timeout=300)
    judge(cases, "inbound, plaintext", done.stdout)


def test_rows_through_two_proxies(recorder, cases):
    """From an application in a pod, by the name of the service."""
    pod = recorder.run("replay", [PYTHON, HTTP1 / "replay.py", "recorder", "80", recorder.folder / "log", "meshed"])
    pod.wait(300)
    judge(cases, "outbound and inbound, mesh TLS", pod.log())
