"""A minute of ./dev soak; and that its accounting sees what it must."""
import json
import os
import pathlib
import subprocess
import sys

from support.mesh import PYTHON

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from account import Excuse, Phase, judge  # noqa: E402

SECONDS = os.environ.get("TULLE_SOAK_SECONDS", "60")


def test_a_minute(binaries):
    done = subprocess.run([PYTHON, "-B", HERE / "soak.py", SECONDS, "--rate", "8", "-o", "json"], text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=600)
    value = json.loads(done.stdout) if done.stdout.strip() else {}
    for phase in value.get("phases", []):
        print({k: v for k, v in phase.items() if k != "bad"}, *phase["bad"], sep="\n    ")
    print(json.dumps(value.get("proxies")), *value.get("problems", []), done.stderr, sep="\n")
    assert done.returncode == 0 and value["good"]


def record(ident, t=1.0, took=0.1, ok=True, again=False, error=""):
    return {"protocol": "http1", "id": ident, "t": t, "end": t + took, "ok": ok, "again": again, "error": error}


def judged(done, served=(), excuses=(), sent=None):
    return judge(sent or done, done, [f"http1 {i} origin" for i in served], [Phase("one", 0, 10)], excuses)[0]


def test_answered_once():
    row = judged([record("a"), record("b")], served="ab")
    assert (row.sent, row.answered) == (2, 2) and row.holds()


def test_served_twice():
    assert judged([record("a")], served="aa").twice == 1
    assert judged([record("a", again=True)], served="aa").holds(), "what is idempotent may be asked again"
    assert judged([record("a", ok=False, error="502")], served="aa").twice == 1
    assert judged([], sent=[record("a")], served="aa").twice == 1


def test_lost():
    assert judged([record("a")], served="ab", sent=[record("a"), record("b")]).lost == 1, "without an end"
    assert judged([record("a", took=30.0, ok=False, error="TimeoutError")]).lost == 1, "ended only by its deadline"


def test_an_answer_that_nobody_gave():
    assert judged([record("a")]).failed == 1


def test_excuses():
    failed = record("a", t=3.0, took=1.0, ok=False, error="HTTP/1.1 503 x")
    assert not judged([failed]).holds()
    assert judged([failed], excuses=[Excuse("e", 3.9, 8)]).allowed == 1
    assert judged([failed], excuses=[Excuse("e", 4.1, 8), Excuse("e", 1, 2.9)]).failed == 1, "at another time"
    assert judged([failed], excuses=[Excuse("e", 3, 8, ("tcp",))]).failed == 1, "another protocol"
    assert judged([failed], excuses=[Excuse("e", 3, 8, error="502")]).failed == 1, "another error"
    assert judged([record("a", t=3.0, took=30.0, ok=False)], excuses=[Excuse("e", 0, 50)]).lost == 1, "nothing excuses a loss"


def test_a_phase_without_traffic_does_not_hold():
    assert not judged([]).holds()
