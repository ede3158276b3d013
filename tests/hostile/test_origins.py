"""Origins that break the rules, asked through two real proxies: the client gets an answer or a reset in time, never a
part for the whole, and nothing of one answer in the next; memory stays, the origin is asked a bounded number of times, a metric
counts each, and an honest client of an honest port beside is answered."""
import json
import os
import pathlib
import re
import time
import urllib.request

from procs import SCALE
from support.mesh import PYTHON, wait_until

ORIGINS = pathlib.Path(__file__).resolve().parent / "origins.py"
FIRST = 8100
# In the order of origins.py: row → first line; None: whatever was begun breaks off.
WANTED = {
    "endless_headers": "HTTP/1.1 502", "endless_status_line": "HTTP/1.1 502", "endless_interims": "HTTP/1.1 502", "body_too_short": None,
    "body_too_long": "HTTP/1.1 200", "late_reset": None, "no_answer": "HTTP/1.1 502",
}
H2 = ["h2_interims", "h2_endless_block", "h2_goaway_zero", "h2_reset", "h2_one_stream"]


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def failures(mesh):
    """Port → responses that failed, as the inbound proxy counts them."""
    with urllib.request.urlopen(f"http://{mesh.address('origins')}:4191/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for port, count in re.findall(r'^response_total\{.*target_port="(\d+)".*classification="failure".*\} (\d+)', text, re.MULTILINE):
        found[int(port)] = found.get(int(port), 0) + int(count)
    return found


def complaint(row, seen):
    """About one request to an HTTP/1 origin, or the four to one of HTTP/2."""
    if row in H2:
        ended, resets, seconds = seen
        return ended + resets < 4 or seconds > 5 * SCALE or (row == "h2_one_stream" and resets)
    line = WANTED[row]
    interims, got, whole, body, seconds = seen
    return seconds > 5 * SCALE or interims > 16 or (line and not (got.startswith(line) and whole)) or (not line and whole) or \
        (row == "body_too_long" and body != "ok")


def test_origins_that_break_the_rules(mesh):
    mesh.up()
    rows = [*WANTED, *H2]
    flags = [w for i in range(len(rows) + 1) for w in ("--port", f"p{i}={FIRST + i}")]
    mesh.start_pod("origins", "origins", [PYTHON, "-B", ORIGINS, "serve", FIRST], *flags)
    mesh.ready("origins")
    pod = mesh.run("client", [PYTHON, "-B", ORIGINS, "ask", "origins", FIRST])
    mesh.ready("client")
    pids = [mesh.proxy_pid("origins"), mesh.proxy_pid("client")]
    before, most = [resident(pid) for pid in pids], [0, 0]
    while pod.running():
        for i, pid in enumerate(pids):
            try:
                most[i] = max(most[i], resident(pid))
            except OSError:  # it ends with its pod
                pass
        time.sleep(0.02)  # between two looks
    assert pod.wait(60) == 0, pod.log()
    seen = json.loads(pod.log().strip().splitlines()[-1])
    for row in rows:
        results = seen['rows'][row]['results']
        print(row, len(results), results[0], max(x[-1] for x in results), seen['rows'][row]['honest'], seen['requests'][row])
    wrong, failed = [], failures(mesh)
    print('memory', [m - b >> 20 for m, b in zip(most, before)], 'MB more;', failed)
    for i, row in enumerate(rows):
        results, honest = seen["rows"][row]["results"], seen["rows"][row]["honest"]
        wrong += [f"{row}: {x}" for x in results if complaint(row, x)]
        asked = len(results) * (4 if row in H2 else 1)
        if seen["requests"][row] > 3 * asked:
            wrong.append(f"{row}: {seen['requests'][row]} requests for {asked}")
        if honest["answered"] < 0.9 * honest["asked"]:
            wrong.append(f"{row}: an honest client beside: {honest}")
        if row not in ("body_too_long", "h2_one_stream") and not failed.get(FIRST + i):
            wrong.append(f"{row}: no failure is counted: {failed}")
    for was, grown in zip(before, most):
        if grown - was > SCALE * (50 << 20):
            wrong.append(f"memory grew by {(grown - was) >> 20} MB")
    wait_until("memory comes back", lambda: resident(pids[0]) < before[0] + SCALE * (16 << 20), 4)
    assert not wrong, wrong
