"""Origins that break the rules, asked through two real proxies: the client gets an answer or a reset in time, never a
part for the whole, and nothing of one answer in the next."""
import json
import pathlib

from support.mesh import PYTHON

ORIGINS = pathlib.Path(__file__).resolve().parent / "origins.py"
FIRST = 8100
WANTED = {  # row → (first line, body); None: whatever was begun breaks off
    "endless_headers": "HTTP/1.1 502", "endless_status_line": "HTTP/1.1 502", "endless_interims": "HTTP/1.1 502", "no_answer": "HTTP/1.1 502",
    "body_too_short": None, "late_reset": None, "body_too_long": "HTTP/1.1 200",
}

H2 = ["h2_interims", "h2_endless_block", "h2_goaway_zero", "h2_reset", "h2_one_stream"]  # in the order of origins.py


def test_origins_that_break_the_rules(mesh):
    mesh.up()
    flags = [w for i in range(len(WANTED) + len(H2)) for w in ("--port", f"p{i}={FIRST + i}")]
    mesh.start_pod("origins", "origins", [PYTHON, "-B", ORIGINS, "serve", FIRST], *flags)
    mesh.ready("origins")
    pod = mesh.run("client", [PYTHON, "-B", ORIGINS, "ask", "origins", FIRST])
    assert pod.wait(60) == 0, pod.log()
    seen = json.loads(pod.log().strip().splitlines()[-1])
    print(json.dumps(seen, indent=1))
    wrong = []
    for row, line in WANTED.items():
        interims, got, whole, body, seconds = seen[row]
        if seconds > 5:
            wrong.append(f"{row}: took {seconds:.1f} s")
        if interims > 16 or (line and not (got.startswith(line) and whole)):
            wrong.append(f"{row}: {seen[row]}, wanted {line}")
        if not line and whole:
            wrong.append(f"{row}: {got!r} {body!r}: looks complete")
    for row in H2:
        ended, resets, seconds = seen[row]
        if ended + resets < 4 or seconds > 5 or (row == "h2_one_stream" and resets):
            wrong.append(f"{row}: {seen[row]}")
    if seen["body_too_long"][3] != "ok":
        wrong.append(f"body_too_long: {seen['body_too_long']}")
    assert not wrong, wrong
