"""`tulle run` by itself: what passes through, what it says to the control plane, in which order it starts and stops."""
import os
import pathlib
import re
import signal
import socket
import time

from support.mesh import PYTHON

SERVER = """
import signal, socket, sys, os
def note(text):
    with open(os.environ["FAKE_LOG"], "a") as f: f.write(text + "\\n")
def end(*_):
    note("app told to end"); sys.exit(5)
signal.signal(signal.SIGTERM, end if sys.argv[1] != "ignore" else signal.SIG_IGN)
s = socket.create_server(("0.0.0.0", int(sys.argv[2])))
note("app listens")
while True:
    c, _ = s.accept(); c.recv(1000); c.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nhello"); c.close()
"""


def serve(runner, *flags, how="finish", port=8080, name="pod"):
    pod = runner.run(PYTHON, "-c", SERVER, how, port, flags=["--service", "api", "--port", f"http={port}", *flags], name=name)
    runner.wait("published", lambda: ("ready", True) in runner.control.log)
    return pod


def test_output_arguments_environment_and_exit_code_pass_through(runner):
    code, log = runner.finish("sh", "-c", 'echo "$1|$2|$MARK|$(pwd)"; echo err >&2; exit 7', "x", "a b", "--help", env={"MARK": "m"})
    assert code == 7 and log.splitlines() == [f"a b|--help|m|{os.getcwd()}", "err"]
    assert runner.finish("sh", "-c", "kill -9 $$", name="killed")[0] == 137
    code, log = runner.finish("tulle-no-such-program", name="none")
    assert code == 127 and log == "tulle: tulle-no-such-program: No such file or directory\n"
    code, log = runner.finish("/etc/passwd", name="cannot")
    assert code == 126 and "Permission denied" in log


def test_what_is_registered(runner):
    serve(runner, "--namespace", "shop", "--name", "api-1", "--service-account", "acct", "--label", "version=v1",
          "--ready-path", "/healthz")
    body = runner.control.details("register")[0]
    assert {k: body[k] for k in ("namespace", "name", "service", "service_account", "labels", "ports", "ready_path")} == {
        "namespace": "shop", "name": "api-1", "service": "api", "service_account": "acct", "labels": {"version": "v1"},
        "ports": [{"name": "http", "port": 8080}], "ready_path": "/healthz"}
    assert runner.control.whats() == ["register", "hold", "ready"]


def test_the_order_of_a_stop(runner):
    """Published only once the application listens; withdrawn before anything ends; application before proxy."""
    pod = serve(runner)
    pod.signal(signal.SIGTERM)
    assert pod.wait(10) == 5
    runner.wait("released", lambda: "released" in runner.control.whats())
    assert runner.noted() == [f"proxy starts on {runner.addresses[0]} ports 8080:8080", "app listens", "proxy drains", "app told to end", "proxy ends"]
    assert [e for e in runner.control.log if e[0] != "register"] == [("hold", "w1"), ("ready", True), ("ready", False), ("released", "w1")]


def test_an_application_that_ignores_sigterm(runner):
    pod = serve(runner, "--grace", "1s", how="ignore")
    pod.signal(signal.SIGTERM)
    assert pod.wait(10) == 137 and "killed" in pod.log()
    assert runner.noted()[-1] == "proxy ends"


def test_a_second_sigterm_ends_at_once(runner):
    pod = serve(runner, how="ignore")
    pod.signal(signal.SIGTERM)
    runner.wait("drains", lambda: "proxy drains" in runner.noted())
    pod.signal(signal.SIGTERM)
    assert pod.wait(5) == 137


def test_other_signals_reach_the_application(runner):
    script = "trap 'echo got usr1; exit 3' USR1; echo up; while :; do sleep 0.05; done"
    pod = runner.run("sh", "-c", script)
    runner.wait("up", lambda: "up" in pod.log())
    pod.signal(signal.SIGUSR1)
    assert pod.wait(10) == 3 and "got usr1" in pod.log()


def test_the_control_plane_goes_and_comes_back(runner):
    pod = serve(runner)
    runner.control.close()
    tried = runner.refuse_for_now()
    runner.wait("it tries in vain", lambda: tried() >= 3)
    assert pod.running()
    runner.start_control()
    runner.wait("held again", lambda: "hold" in runner.control.whats())
    body = runner.control.details("register")[0]
    assert body["name"] == "chosen" and body["ready"] and body["address"] == runner.addresses[0]
    assert runner.noted().count(f"proxy starts on {runner.addresses[0]} ports 8080:8080") == 1, "the proxy was left alone"
    pod.signal(signal.SIGTERM)
    assert pod.wait(10) == 5


def test_a_pod_started_without_a_control_plane_waits_for_it(runner):
    runner.control.close()
    pod = runner.run("echo", "hello")
    runner.wait("said", lambda: "waiting for the control plane" in pod.log())
    runner.start_control()
    assert pod.wait(5) == 0 and "hello" in pod.log()


def test_no_mesh_at_all_is_one_line_with_its_remedy(runner):
    runner.control.close()
    runner.socket.unlink()
    start = time.monotonic()
    code, log = runner.finish("true")
    assert code == 125 and time.monotonic() - start < 7
    assert log.count("\n") == 1 and "tulle up --mesh" in log


def test_what_the_control_plane_refuses_is_said(runner):
    code, log = runner.finish("true", flags=["--name", "taken"])
    assert code == 125 and "the name taken is in use" in log


def test_an_address_that_others_use_is_left_to_them(runner):
    with socket.create_server((runner.addresses[0], 4191)), socket.create_server((runner.addresses[1], 4143)):
        serve(runner)
        bodies = runner.control.details("register")
        assert bodies[-1]["refused_addresses"] == runner.addresses[:2]
        assert runner.noted()[0].startswith(f"proxy starts on {runner.addresses[2]} ")


def test_a_port_that_the_host_uses_everywhere_is_served_on_another(runner):
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        serve(runner, port=port)
        wish = runner.control.details("register")[-1]["ports"][0]["served"]
        assert wish != port and runner.noted()[0].endswith(f"ports {wish}:{port}")


def test_a_proxy_that_dies_is_started_again(runner):
    pod = serve(runner)
    started = runner.noted()[0]
    proxy = [int(p.parent.name) for p in pathlib.Path("/proc").glob("[0-9]*/cmdline")
             if str(runner.proxy).encode() in p.read_bytes()]
    os.kill(proxy[0], signal.SIGKILL)
    runner.wait("second start", lambda: runner.noted().count(started) == 2)
    assert pod.running() and "the proxy ended" in pod.log()


def test_the_application_waits_for_the_proxy(runner):
    pathlib.Path(f"{runner.events}.unready").touch()
    pod = runner.run("sh", "-c", "echo app >> $FAKE_LOG")
    runner.wait("the proxy", lambda: runner.noted())
    assert pod.running() and "app" not in runner.noted()
    pathlib.Path(f"{runner.events}.unready").unlink()
    assert pod.wait(10) == 0 and runner.noted()[1] == "app"


def test_readiness_follows_the_path(runner):
    script = """
import http.server, os
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        good = self.path != '/ready' or os.path.exists(os.environ['FAKE_LOG'] + '.good')
        with open(os.environ['FAKE_LOG'] + '.asked', 'a') as f: f.write('.')
        self.send_response(204 if good else 500); self.send_header('content-length', '0'); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(('', 80), H).serve_forever()
"""
    good = pathlib.Path(f"{runner.events}.good")
    runner.run(PYTHON, "-c", script, flags=["--service", "api", "--port", "80", "--ready-path", "/ready"])
    asked = pathlib.Path(f"{runner.events}.asked")
    runner.wait("asked in vain", lambda: asked.exists() and len(asked.read_text()) >= 5)
    assert "ready" not in runner.control.whats()
    good.touch()
    runner.wait("ready", lambda: ("ready", True) in runner.control.log)
    good.unlink()
    runner.wait("withdrawn", lambda: ("ready", False) in runner.control.log)


def test_how_often_readiness_is_asked(runner):
    """Often at first, then less and less, at last once a second: docs/cli.md."""
    script = """
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(os.environ['FAKE_LOG'] + '.times', 'a') as f: f.write('%f\\n' % time.monotonic())
        self.send_response(500); self.send_header('content-length', '0'); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(('', 80), H).serve_forever()
"""
    runner.run(PYTHON, "-c", script, flags=["--service", "api", "--port", "80", "--ready-path", "/ready"])
    log = pathlib.Path(f"{runner.events}.times")

    def gaps():
        times = [float(t) for t in log.read_text().splitlines()] if log.exists() else []
        return [b - a for a, b in zip(times, times[1:])]
    runner.wait("a second between two", lambda: any(gap >= 0.99 for gap in gaps()))
    assert len(gaps()) <= 9 and gaps()[-1] < 1.5, gaps()  # 10, 20, 40, … 640 ms, 1 s


def test_a_free_port_to_expose_is_printed(runner):
    pod = serve(runner, "--expose", "0:8080", "--expose", "127.0.0.1:0:8080")
    ports = re.findall(r"^tulle: --expose: 127\.0\.0\.1:(\d+) reaches port 8080 of the pod$", pod.log(), re.M)
    assert len(set(ports)) == 2, pod.log()
    for port in ports:
        with socket.create_connection(("127.0.0.1", int(port)), 5) as c:
            c.sendall(b"GET / HTTP/1.0\r\n\r\n")
            c.settimeout(5)
            assert c.makefile("rb").read().endswith(b"hello")


def test_expose_and_host(runner):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve(runner, "--expose", f"127.0.0.1:{port}:8080")
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), 5) as c:
            c.sendall(b"GET / HTTP/1.0\r\n\r\n")
            c.settimeout(5)
            assert c.makefile("rb").read().endswith(b"hello")
    with socket.create_server(("127.0.0.1", 0)) as server:
        host_port = server.getsockname()[1]
        script = f"import socket; s = socket.create_connection(('127.0.0.2', {host_port}), 5); s.sendall(b'from a pod'); s.close()"
        pod = runner.run(PYTHON, "-c", script, flags=["--host", str(host_port)], name="outgoing")
        server.settimeout(10)
        c, _ = server.accept()
        assert c.recv(100) == b"from a pod"
        assert pod.wait(10) == 0


def children(pid):
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            pass
    below, more = [], [pid]
    while more:
        more = [p for p, parent in found.items() if parent in more]
        below += more
    return below


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def namespaces(pid):
    """Those of a process, by kind and number."""
    found = set()
    for kind in ("net", "pid", "mnt", "user"):
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            pass
    return found


def test_a_kill_leaves_nothing(runner):
    """`kill -9` of `tulle run`: no process, no namespace and no socket of the pod is left."""
    pod = serve(runner, "--expose", "0:8080")
    below = children(pod.pid)
    assert len(below) >= 3  # init, application, proxy
    made = set().union(*map(namespaces, below)) - namespaces(os.getpid())
    assert {name.split(":")[0] for name in made} == {"net", "pid", "mnt", "user"}
    exposed = int(re.search(r"127\.0\.0\.1:(\d+) reaches", pod.log()).group(1))
    pod.popen.send_signal(signal.SIGKILL)
    pod.popen.wait()
    runner.wait("nothing of the pod is left", lambda: not any(alive(p) for p in below))
    runner.wait("released", lambda: "released" in runner.control.whats())
    runner.wait("no process is in its namespaces",
                lambda: not any(namespaces(p.name) & made for p in pathlib.Path("/proc").glob("[0-9]*")))
    for address in (("127.0.0.1", exposed), (runner.addresses[0], 4191)):
        socket.create_server(address).close()  # nobody listens there
