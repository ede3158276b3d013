"""The walking mesh as a user meets it: up, run, a request by name over mutual TLS, seen in edges."""
import contextlib
import json
import os
import pathlib
import secrets
import signal
import socket
import time
import urllib.parse
import urllib.request

from support.control import Workload
from support.mesh import BIN, PYTHON, SUPPORT, Mesh, server

WEIGHTED = """
    apiVersion: v1
    kind: Service
    metadata: {{name: origin, namespace: default}}
    spec:
      selector: {{app: origin}}
      ports: [{{name: http, port: 80, targetPort: http1}}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {{name: one, namespace: default}}
    spec:
      selector: {{app: origin, version: one}}
      ports: [{{name: http, port: 80, targetPort: http1}}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {{name: two, namespace: default}}
    spec:
      selector: {{app: origin, version: two}}
      ports: [{{name: http, port: 80, targetPort: http1}}]
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {{name: origin, namespace: default}}
    spec:
      parentRefs: [{{group: "", kind: Service, name: origin, port: 80}}]
      rules:
      - backendRefs: [{{name: one, port: 80, weight: {one}}}, {{name: two, port: 80, weight: {two}}}]
"""


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_request_by_service_name_over_mtls(mesh):
    """`tulle up`, two `tulle run`, a curl by name from a third pod; the edge is seen, and it is mutual TLS."""
    mesh.up()
    mesh.origin("hello-1", "hello", ports="http1")
    mesh.origin("hello-2", "hello", ports="http1")
    mesh.ready("hello-1")
    mesh.ready("hello-2")
    pod = mesh.run("curl", ["sh", "-c", "curl -sS -H 'x-id: first' " + "http://hello:8080/ " * 20 + "; echo done; sleep infinity"])
    mesh.wait("curl is done", lambda: "done" in pod.log() or not pod.running(), 20)
    log = pod.log()
    assert log.count("first hello-") == 20, log
    assert "hello-1" in log and "hello-2" in log, f"both instances should have answered:\n{log}"
    assert mesh.edge_is_mtls("curl", "hello")


def test_both_ways_of_a_large_body(mesh):
    mesh.up()
    mesh.origin("big", ports="http1", service="big")
    mesh.ready("big")
    size = 64 << 20
    (mesh.folder / "body").write_bytes(os.urandom(1 << 20) * 64)
    code, log = mesh.curl("download", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", f"http://big:8080/size/{size}", seconds=60)
    assert (code, log.split("\n")[-1]) == (0, f"200 {size}"), log
    code, log = mesh.curl("upload", "--data-binary", f"@{mesh.folder}/body", "http://big:8080/count", seconds=60)
    assert code == 0 and log.endswith(str(size)), log


def test_upgrade_and_expect_continue(mesh):
    """A protocol upgrade becomes a tunnel; `Expect: 100-continue` is answered end to end."""
    mesh.up()
    mesh.origin("up", "up", ports="http1")
    mesh.ready("up")
    script = ("import socket; s = socket.create_connection(('up', 8080), 5); "
              "s.sendall(b'GET / HTTP/1.1\\r\\nHost: up\\r\\nConnection: upgrade\\r\\nUpgrade: echo\\r\\n\\r\\n'); "
              "head = b''\n"
              "while b'\\r\\n\\r\\n' not in head: head += s.recv(1)\n"
              "assert head.startswith(b'HTTP/1.1 101 '), head\n"
              "s.sendall(b'ping'); got = s.recv(4); print('tunnel', got)")
    pod = mesh.run("upgrade", [PYTHON, "-c", script])
    assert pod.wait(30) == 0 and "tunnel b'ping'" in pod.log(), pod.log()
    code, log = mesh.curl("expect", "-v", "-H", "Expect: 100-continue", "-d", "hello", "http://up:8080/count")
    assert code == 0 and "100 Continue" in log and log.endswith("5"), log


def test_a_name_resolves_before_its_pods_exist(mesh):
    mesh.manifest("later.yaml", """
        apiVersion: v1
        kind: Service
        metadata: {name: later, namespace: default}
        spec:
          selector: {app: later}
          ports: [{name: http, port: 80, targetPort: http1}]
    """)
    mesh.up()
    pod = mesh.run("resolve", ["getent", "ahostsv4", "later"])
    assert pod.wait(20) == 0 and "127." in pod.log(), pod.log()
    before = pod.log().split()[0]
    mesh.origin("later-1", "later", "--label", "app=later", ports="http1")
    mesh.ready("later-1")
    code, log = mesh.curl("curl", f"http://{before}/", "-H", "x-id: by-address")
    assert code == 0 and "by-address later-1" in log, log
    code, log = mesh.curl("curl-fqdn", "http://later.default.svc.cluster.local/", "-H", "x-id: by-name")
    assert code == 0 and "by-name later-1" in log, log


def test_a_weight_moves_traffic_within_a_second(mesh):
    mesh.manifest("routes.yaml", WEIGHTED.format(one=1, two=0))
    mesh.up()
    for version in ("one", "two"):
        mesh.origin(version, "origin", "--label", "app=origin", "--label", f"version={version}", ports="http1")
        mesh.ready(version)
    out = mesh.folder / "client.jsonl"
    mesh.run("client", [PYTHON, SUPPORT / "client.py", "--out", out, "--rate", 100, "--http1", "origin:80"])
    mesh.wait("200 answers", lambda: len(read(out)) >= 200, 20)
    assert {r.get("instance") for r in read(out)} == {"one"}, f"weight 1 to 0: {[r for r in read(out) if r.get('instance') != 'one'][:3]}"
    changed = time.time()
    mesh.manifest("routes.yaml", WEIGHTED.format(one=0, two=1))
    mesh.wait("traffic moves", lambda: any(r["t"] > changed + 1.5 for r in read(out)), 10)
    late = [r for r in read(out) if r["t"] > changed + 1]
    assert late and {r.get("instance") for r in late} == {"two"}, f"more than 1 s after the change: {late[:3]}"
    assert all(r["ok"] for r in read(out))


def test_a_bad_manifest_keeps_the_last_good_version(mesh):
    mesh.manifest("routes.yaml", WEIGHTED.format(one=1, two=0))
    mesh.up()
    mesh.origin("one", "origin", "--label", "app=origin", "--label", "version=one", ports="http1")
    mesh.ready("one")
    bad = mesh.manifest("routes.yaml", WEIGHTED.format(one=1, two=0) + "\n    ---\n    kind: [unclosed\n")
    done = mesh.tulle("validate", bad, check=False)
    assert done.returncode != 0 and "routes.yaml" in done.stdout + done.stderr, done
    code, log = mesh.curl("curl", "http://origin/", "-H", "x-id: still")
    assert code == 0 and "still one" in log, log


def test_who_may_talk_to_whom(mesh):
    """By default only the mesh's own workloads; a Server opens one port to everybody."""
    mesh.manifest("policy.yaml", server("open"))
    mesh.up("--default-inbound-policy", "all-authenticated")
    mesh.origin("open", "open", "--label", "app=open", ports="http1")
    mesh.origin("closed", "closed", "--label", "app=closed", ports="http1 tcp")
    for name in ("open", "closed"):
        mesh.ready(name)
    assert plain(mesh.address("open"), 8080).startswith(b"HTTP/1.1 200 "), "an open port answers in plain"
    assert not plain(mesh.address("closed"), 8080).startswith(b"HTTP/1.1 200 "), "a closed port must refuse plain HTTP"
    assert b"ok" not in plain(mesh.address("closed"), 8083, b"probe\n"), "a closed port must refuse plain TCP"
    code, log = mesh.curl("curl", "http://closed:8080/", "-H", "x-id: meshed")
    assert code == 0 and "meshed closed" in log, log
    served = (mesh.folder / "origin.ids").read_text()
    assert "probe" not in served and served.count("plain") == 1, served


def plain(address, port, data=b"GET / HTTP/1.1\r\nHost: x\r\nx-id: plain\r\nConnection: close\r\n\r\n"):
    """What an unmeshed client on the host gets."""
    try:
        with socket.create_connection((address, port), 5) as connection:
            connection.sendall(data)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer
    except OSError:
        return b""


GREETER = ("import socket, threading; s = socket.create_server(('0.0.0.0', 1430), backlog=100)\n"
           "def greet(c): c.sendall(b'* OK hello\\r\\n'); c.recv(1); c.close()\n"
           "while True: c, _ = s.accept(); print('taken', flush=True); threading.Thread(target=greet, args=(c,), daemon=True).start()")


def test_a_server_that_speaks_first(mesh):
    """Nothing says so, no port list has it, and its greeting arrives all the same, at once."""
    mesh.up()
    mesh.run("greeter", [PYTHON, "-c", GREETER], "--port", "imap=1430")
    mesh.ready("greeter")
    client = ("import socket, time\n"
              "for _ in range(5):\n"
              " t = time.monotonic(); s = socket.create_connection(('greeter', 1430), 5); g = s.recv(100)\n"
              " print('greeted', g, round((time.monotonic() - t) * 1000, 1)); s.sendall(b'x'); s.close()")
    pod = mesh.run("client", [PYTHON, "-c", client])
    assert pod.wait(30) == 0, pod.log()
    times = [float(line.split()[-1]) for line in pod.log().splitlines() if line.startswith("greeted b'* OK hello")]
    assert len(times) == 5 and sorted(times)[2] < 30, pod.log()


def test_many_clients_at_once_of_a_server_that_speaks_first(mesh):
    """Ten dials a second may be in vain; those that were not do not count, and nobody waits for the time of detection."""
    mesh.up()
    mesh.run("greeter", [PYTHON, "-c", GREETER], "--port", "imap=1430")
    mesh.ready("greeter")
    script = ("import socket, sys, threading, time\n"
              "start = time.monotonic()\n"
              "def one():\n"
              "    s = socket.create_connection(('greeter', 1430), 5); s.settimeout(15)\n"
              "    sys.stdout.write(f'greeted {s.recv(100)[:4]} {time.monotonic() - start:.2f}\\n')\n"
              "threads = [threading.Thread(target=one) for _ in range(40)]\n"
              "for t in threads: t.start()\n"
              "for t in threads: t.join()\n")
    pod = mesh.run("client", [PYTHON, "-c", script])
    assert pod.wait(60) == 0, pod.log()
    times = [float(line.split()[-1]) for line in pod.log().splitlines() if line.startswith("greeted b'* OK'")]
    assert len(times) == 40 and max(times) < 5, sorted(times)


def greeted(address, seconds):
    """(greeting, ms) for a client outside of the mesh."""
    start = time.monotonic()
    try:
        with socket.create_connection((address, 1430), seconds) as connection:
            return connection.recv(100), (time.monotonic() - start) * 1000
    except OSError:
        return b"", (time.monotonic() - start) * 1000


def test_a_server_that_speaks_first_to_a_client_outside_the_mesh(mesh):
    """Also where the port is opaque; and nothing reaches a server that lets only the mesh in."""
    for name, spec in (("opaque", "proxyProtocol: opaque, accessPolicy: all-unauthenticated"), ("closed", "accessPolicy: all-authenticated")):
        mesh.manifest(f"{name}.yaml", f"""
            apiVersion: policy.linkerd.io/v1beta3
            kind: Server
            metadata: {{name: {name}, namespace: default}}
            spec: {{port: imap, podSelector: {{matchLabels: {{app: {name}}}}}, {spec}}}
        """)
    mesh.up()
    closed = [mesh.run(name, [PYTHON, "-c", GREETER], "--port", "imap=1430", "--label", f"app={name}")
              for name in ("open", "opaque", "closed")][-1]
    for name in ("open", "opaque", "closed"):
        mesh.ready(name)
    for name in ("open", "opaque"):
        seen = [greeted(mesh.address(name), 5) for _ in range(5)]
        assert all(text.startswith(b"* OK hello") for text, _ in seen), (name, seen)
        assert sorted(ms for _, ms in seen)[2] < 500, (name, seen)
    with socket.create_connection((mesh.address("closed"), 1430), 5) as outside:  # for as long as it takes to run a client
        inside = "import socket; print('greeted', socket.create_connection(('closed', 1430), 5).recv(100))"
        pod = mesh.run("client", [PYTHON, "-c", inside])
        assert pod.wait(30) == 0 and "greeted b'* OK hello" in pod.log(), pod.log()
        outside.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert outside.recv(100) == b""
    assert closed.log().count("taken") == 1, closed.log()


def test_exit_code_signals_and_output_pass_through(mesh):
    mesh.up()
    pod = mesh.run("fails", ["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert pod.wait(20) == 7 and "out" in pod.log() and "err" in pod.log(), pod.log()
    pod = mesh.run("trap", ["sh", "-c", "trap 'echo got it; exit 5' TERM; echo waiting; while :; do sleep 0.1; done"])
    mesh.wait("the program waits", lambda: "waiting" in pod.log(), 20)
    pod.signal(signal.SIGTERM)
    assert pod.wait(20) == 5 and "got it" in pod.log(), pod.log()


def mine(name):
    """Processes whose command line names the mesh."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words and int(path.parent.name) != os.getpid():
            found.append((int(path.parent.name), b" ".join(words).decode()))
    return found


def test_nothing_is_left_behind(mesh):
    """After a kill of `tulle run` its application and proxy are gone; after `down` so is everything else."""
    mesh.up()
    mark = "3" + secrets.token_hex(3)
    pod = mesh.run("sleeper", ["sh", "-c", f"echo started; sleep 1000; true {mark}"])
    mesh.wait("the application runs", lambda: "started" in pod.log(), 20)
    pod.popen.kill()
    pod.popen.wait()
    mesh.wait("the pod's processes are gone", lambda: not [p for p in mine(mesh.name) if "sleeper" in p[1]] and not marked(mark), 10)
    mesh.stop()
    mesh.wait(f"no process of the mesh is left: {mine(mesh.name)}", lambda: not mine(mesh.name), 10)
    folders = [pathlib.Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/tulle-{os.getuid()}")) / mesh.name,
               pathlib.Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "tulle" / mesh.name,
               pathlib.Path(os.environ.get("XDG_STATE_HOME", pathlib.Path.home() / ".local/state")) / "tulle" / mesh.name]
    assert not [p for p in folders if p.exists()]


def marked(mark):
    return [p for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in safe_read(p)]


def safe_read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_two_meshes_side_by_side(mesh, tmp_path_factory):
    mesh.up()
    mesh.origin("a", "same", ports="http1")
    with Mesh(tmp_path_factory.mktemp("second")) as other:
        other.up()
        other.origin("b", "same", ports="http1")
        mesh.ready("a")
        other.ready("b")
        for one, wanted in ((mesh, "a"), (other, "b")):
            code, log = one.curl("curl", "http://same:8080/", "-H", "x-id: which")
            assert code == 0 and f"which {wanted}" in log, log


def test_expose_and_host(mesh):
    """From the host into a pod, and from a pod to a port of the host's own loopback."""
    mesh.up()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        exposed = free.getsockname()[1]
        free.close()
        mesh.origin("inside", "inside", "--expose", f"127.0.0.1:{exposed}:8080", ports="http1")
        mesh.ready("inside")
        assert plain("127.0.0.1", exposed).startswith(b"HTTP/1.1 200 ")
        port = server.getsockname()[1]
        script = f"import socket; s = socket.create_connection(('host', {port}), 5); s.sendall(b'from a pod'); s.close()"
        pod = mesh.run("outgoing", [PYTHON, "-c", script], "--host", str(port))
        server.settimeout(20)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(10)
            assert connection.recv(100) == b"from a pod"
        assert pod.wait(20) == 0, pod.log()


def test_prometheus_sees_the_pods(mesh):
    """Debian's Prometheus, started by `tulle up`, finds the pods by itself and scrapes their proxies."""
    mesh.up(prometheus=True)
    mesh.origin("seen", "seen", ports="http1")
    mesh.ready("seen")
    client = mesh.run("client", [PYTHON, SUPPORT / "client.py", "--out", mesh.folder / "out", "--rate", "10", "--http1", "seen:8080"])
    url = next(line.split()[1] for line in mesh.control.log().splitlines() if line.split()[:1] == ["Prometheus"])
    query = urllib.parse.quote('sum(request_total{direction="outbound",tls="true"})')

    def counted():
        try:
            with urllib.request.urlopen(f"{url}/api/v1/query?query={query}", timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) > 0
        except OSError:
            return False

    mesh.wait(f"{url} has requests over mutual TLS", counted, 40, every=0.5)
    assert client.running(), client.log()


def test_the_command_line_helps(mesh):
    assert "run" in mesh.tulle("--help").stdout
    assert mesh.tulle("version").stdout.strip()
    assert mesh.tulle("nonsense", check=False).returncode != 0
    for command in ("up", "down", "run", "validate", "get", "stat", "edges", "check", "diagnostics"):
        assert mesh.tulle(command, "--help").stdout.strip(), f"tulle {command} --help says nothing"
    checked = mesh.tulle("check", check=False)
    assert "user namespaces" in (checked.stdout + checked.stderr).lower()
    assert BIN.joinpath("tulle-proxy").exists()


def test_each_attempt_begins_with_what_the_client_sent(mesh):
    """Most endpoints are dead. What a backend's filter and the way to another proxy add is there once, or not at all."""
    mesh.manifest("route.yaml", """
        apiVersion: v1
        kind: Service
        metadata: {name: origin, namespace: default}
        spec:
          selector: {app: origin}
          ports: [{name: http1, port: 80, targetPort: http1}]
        ---
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: origin, namespace: default}
        spec:
          parentRefs: [{group: "", kind: Service, name: origin, port: 80}]
          rules:
          - backendRefs:
            - name: origin
              port: 80
              filters:
              - type: RequestHeaderModifier
                requestHeaderModifier: {add: [{name: x-added, value: once}]}
              - type: ResponseHeaderModifier
                responseHeaderModifier: {add: [{name: x-answered, value: once}]}
    """)
    mesh.up()
    mesh.origin("alive", "origin", "--label", "app=origin", ports="http1")
    mesh.ready("alive")
    dead = [Workload(mesh.name, "dead", f"dead-{n}", {"http1": 8080}, {"app": "origin"}) for n in range(3)]
    for one in dead:
        one.ready()
    mesh.wait("all are endpoints", lambda: len(mesh.endpoints("origin", 80)) == 4, 10)
    code, log = mesh.curl("client", "-i", "-H", "transfer-encoding: chunked", "-d", "body", *["http://origin/echo"] * 20)
    assert code == 0, log
    assert log.lower().count("x-added: once") == 20, log
    assert log.lower().count("x-answered: once") == 20, log
    assert "l5d-orig-proto" not in log.lower(), log
    for one in dead:
        one.close()
