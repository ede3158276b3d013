"""`./dev demo` does what the README says, and leaves nothing behind however it ends."""
import os
import pathlib
import re
import signal
import shutil
import subprocess
import tempfile
import time

import demo
import procs
import pytest
from procs import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
WITHOUT_WIRE = [] if demo.wire.obtain(ask=False) else ["--no-wire"]  # looking at packets needs root, or sudo without a password
DEMO = ["/usr/bin/python3", "-B", str(ROOT / "examples/shop/demo.py"), *WITHOUT_WIRE]


def left_behind(name):
    """Processes that belong to a mesh, and its files."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words, state = (path / "cmdline").read_bytes(), (path / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if name.encode() in words and state != "Z" and int(path.name) != os.getpid():
            found.append(words.replace(b"\0", b" ").decode()[:200])
    return found


@pytest.fixture
def folder():
    """Where the demo makes its folder, to see that it is empty afterwards. A short path, for Dovecot's sockets' sake."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="td"))
    place.chmod(0o711)
    yield place
    wait_until(f"{place} is empty", lambda: not list(place.iterdir()), 20)
    place.rmdir()


def test_the_demo_holds_its_conditions(binaries, folder):
    done = subprocess.run([*DEMO, "--for", "20s"], env={**os.environ, "TMPDIR": str(folder)}, text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "FAIL" not in done.stdout
    assert ("in plain in 0 of " in done.stdout) != bool(WITHOUT_WIRE)
    for edge in ("load → web", "web → api", "api → rates", "api → store", "api → mail"):
        row = next(line for line in reversed(done.stdout.splitlines()) if line.startswith(edge))
        assert row.split()[3] == "100" and " yes " in row, row
    wait_until("the folder is gone", lambda: not list(folder.iterdir()), 10)
    assert not left_behind(str(folder))


def test_an_instance_that_is_ended_fails_nothing(binaries, folder, tmp_path):
    """The demo's own hint, `kill PID`: no request fails, and every condition is still told."""
    demo = procs.Process("demo", [*DEMO, "--for", "20s"], tmp_path, {"TMPDIR": str(folder)})
    hint = wait_until("the hint", lambda: re.search(r"kill (\d+) +ends api-2", demo.log()) or not demo.running(), 90, every=0.1)
    assert demo.running(), demo.log()
    os.kill(int(hint[1]), signal.SIGTERM)
    code = demo.wait(90)
    print(demo.log())
    verdicts = [line for line in demo.log().splitlines() if re.match(" (ok  |FAIL|–   ) ", line)]
    assert code == 0 and len(verdicts) == 7 and verdicts[-1].startswith(" –    api-1's share while slow: not looked at") and not any("FAIL" in v for v in verdicts), verdicts
    assert any(" 0 not (api-2 ended meanwhile)" in v for v in verdicts) and any("but the entry (api-2 had ended)" in v for v in verdicts), verdicts
    assert "\napi-2 ended" in demo.log() and not re.search(r"kill \d+", demo.log()[demo.log().index("api-2 ended"):])


def test_round_robin_fails_the_demo(binaries, folder):
    """The slow instance is spared by the balancer, and by nothing else: without it the same check fails."""
    env = {**os.environ, "TMPDIR": str(folder), "TULLE_PROXY_BALANCER": "round-robin"}
    done = subprocess.run([*DEMO, "--for", "20s"], env=env, text=True, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 1, done.stdout + done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith(" FAIL")]
    assert len(failed) == 1 and "of an equal share while slow" in failed[0], failed


def test_no_look_at_the_wire_is_no_success(binaries, tmp_path):
    """Where packets cannot be seen the demo says so at once, with the remedy, rather than pass without that check."""
    (tmp_path / "sudo").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "sudo").chmod(0o755)
    caps = [] if os.getuid() else ["setpriv", "--bounding-set=-net_raw"]
    start = time.monotonic()
    done = subprocess.run([*caps, *DEMO[:3], "--for", "20s"], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, text=True,
                          capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "--no-wire" in done.stderr and done.stderr.count("\n") == 1, done.stdout + done.stderr
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_behind(binaries, folder, tmp_path, how):
    demo = procs.Process("demo", [*DEMO, "--for", "60s"], tmp_path, {"TMPDIR": str(folder)})
    mesh = f"demo-{demo.pid}"
    wait_until("the shop answers in the mesh", lambda: "answers in the mesh" in demo.log() or not demo.running(), 90, every=0.1)
    assert demo.running(), demo.log()
    assert left_behind(mesh)
    demo.popen.send_signal(how)
    start = time.monotonic()
    demo.wait(30)
    wait_until("all of it is gone", lambda: not left_behind(mesh) and not left_behind(str(folder)) and not list(folder.iterdir()), 30)
    print(f"gone {time.monotonic() - start:.1f} s after signal {how}")


def test_the_next_demo_removes_what_a_killed_one_has_left(binaries, tmp_path, monkeypatch):
    """Its process and its janitor were both killed: the pid in the names is of no living demo."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    running = subprocess.Popen(["/usr/bin/python3", "-c", "import signal; signal.pause()", "demo.py"])
    cmdline = pathlib.Path(f"/proc/{running.pid}/cmdline")
    wait_until("it has its name", lambda: b"demo.py" in cmdline.read_bytes(), 10)
    runtime = tempfile.mkdtemp(dir="/tmp")  # short: a socket's path has at most 107 bytes
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        kept = [f"tulle-demo-{running.pid}-abc", f"state/tulle/demo-{running.pid}", "state/tulle/demo-mine", "tulle-demo-other"]
        for name in (*kept, f"tulle-demo-{gone.pid}-abc", f"state/tulle/demo-{gone.pid}"):
            (tmp_path / name / "x").mkdir(parents=True)
        demo.sweep()
        left = {str(p.relative_to(tmp_path)) for p in (*tmp_path.glob("tulle-demo*"), *tmp_path.glob("state/tulle/*"))}
        assert left == set(kept)
    finally:
        running.kill()
        running.wait()
        shutil.rmtree(runtime)
