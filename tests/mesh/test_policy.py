"""Who may talk to a workload, while the control plane is slow to say so, and who may ask or command its proxy."""
import os
import re
import select
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from support.between import Between
from support.mesh import PYTHON, SUPPORT, server


def status(address, port, seconds=15):
    """The status line that a plain client of the host gets, and how long it took."""
    start = time.monotonic()
    with socket.create_connection((address, port), seconds) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-id: plain\r\nConnection: close\r\n\r\n")
        try:
            line = connection.recv(65536).split(b"\r\n")[0].decode()
        except OSError as e:
            line = str(e)
    return line, time.monotonic() - start


def get(address, path, method="GET", data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}:4191{path}", data, method=method), timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_nobody_gets_in_before_the_policy_is_known(mesh):
    """The mesh's default lets all in, a Server lets nobody in, and the control plane is slow to say so."""
    mesh.manifest("policy.yaml", server("guarded", policy="deny"))
    mesh.up("--default-inbound-policy", "all-unauthenticated")
    with Between(mesh) as between:
        between.held = lambda method, request: method.endswith("/WatchPort")
        env = {**between.env, "TULLE_PROXY_NO_DISCOVERY_TIMEOUT": "1s"}
        command = [PYTHON, SUPPORT / "origin.py", "--http1", "8080", "--name", "guarded",
                   "--log", mesh.folder / "origin.ids"]
        mesh.run("guarded", command, "--label", "app=guarded", "--port", "http1=8080", env=env)
        mesh.ready("guarded")
        address = mesh.address("guarded")
        line, took = status(address, 8080)
        assert line.startswith("HTTP/1.1 504 ") and 0.9 < took < 5, (line, took)
        assert get(address, "/ready")[0] == 200 and get(address, "/live")[0] == 200, "probes are for whoever starts the pod"
        assert get(address, "/metrics")[0] == 403
        between.open.set()
        mesh.wait("the policy arrives", lambda: status(address, 8080)[0].startswith("HTTP/1.1 403 "), 10)
        code, text = get(address, "/metrics")
        assert code == 200 and 'tulle_no_inbound_policy_total{action="refused"} 1' in text, text
        assert not (mesh.folder / "origin.ids").exists() or "plain" not in (mesh.folder / "origin.ids").read_text()


def test_a_connection_waits_for_a_policy_that_is_on_its_way(mesh):
    mesh.up("--default-inbound-policy", "all-unauthenticated")
    with Between(mesh) as between:
        between.held = lambda method, request: method.endswith("/WatchPort")
        command = [PYTHON, SUPPORT / "origin.py", "--http1", "8080", "--log", mesh.folder / "origin.ids"]
        mesh.run("slow", command, "--port", "http1=8080", env={**between.env, "TULLE_PROXY_NO_DISCOVERY_TIMEOUT": "20s"})
        mesh.ready("slow")
        with socket.create_connection((mesh.address("slow"), 8080), 15) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            mesh.wait("the policy is asked for", lambda: between.count("/WatchPort"), 10)
            assert get(mesh.address("slow"), "/ready")[0] == 200
            assert not select.select([connection], [], [], 0)[0], "answered before the policy is there"
            between.open.set()
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


APPLICATION = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/broken":
            return self.connection.close()
        self.send_response(200)
        self.send_header("l5d-proxy-error", "forged")
        self.send_header("content-length", "0")
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""


def test_a_client_of_the_mesh_is_told_why_and_nobody_else(mesh):
    """The cause that the server's proxy gives passes the client's; no application can speak in a proxy's name."""
    mesh.manifest("policy.yaml", server("guarded", policy="deny"))
    mesh.up("--default-inbound-policy", "all-unauthenticated")
    mesh.run("guarded", [PYTHON, "-c", APPLICATION], "--label", "app=guarded", "--port", "http1=8080")
    mesh.run("open", [PYTHON, "-c", APPLICATION], "--port", "http1=8080")
    for name in ("guarded", "open"):
        mesh.ready(name)
    for path, code, cause in (("guarded:8080/", 403, "unauthorized request on route: no authorization covers its address"), ("open:8080/broken", 502, "clos|reset|lost|EOF")):
        _, log = mesh.curl(f"asks-{code}", "-i", f"http://{path}")
        assert f" {code} " in log.splitlines()[0], log
        told = re.search(r"^l5d-proxy-error: (.+)$", log, re.MULTILINE)
        assert told and re.search(cause, told[1]), log
    _, log = mesh.curl("asks-200", "-i", "http://open:8080/")
    assert " 200 " in log.splitlines()[0] and "l5d-proxy" not in log, log
    for name, code in (("guarded", 403), ("open", 200)):
        with socket.create_connection((mesh.address(name), 8080), 15) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head = plain.recv(65536)
        assert f" {code} ".encode() in head and b"l5d-proxy" not in head, head


def test_an_address_of_no_service_is_named(mesh):
    mesh.up()
    _, log = mesh.curl("asks", "-i", "http://127.120.0.9:8081/")
    assert "l5d-proxy-error: 127.120.0.9:8081: no endpoint was ready for 3s" in log and 'backend="127.120.0.9:8081"' in log.replace("backend=127.120.0.9:8081", 'backend="127.120.0.9:8081"'), log


def from_own_address(address, uid=None):
    """The status line of GET /proxy-log-level from a program of the host that has bound the pod's own address."""
    code = ("import socket; s = socket.socket(); s.bind(('{0}', 0)); s.connect(('{0}', 4191)); "
            "s.sendall(b'GET /proxy-log-level HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n'); "
            "print(s.recv(100).split(b'\\r\\n')[0].decode())").format(address)
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=20, user=uid, cwd="/")
    return done.stdout + done.stderr


def test_the_host_does_not_command_a_pod(mesh):
    """All pods and all users share the machine's loopback. The pod itself may, through its own proxy."""
    mesh.up()
    curl, door = ["curl", "-sS", "--max-time", "10"], mesh.folder / "door"
    mesh.run("pod", [PYTHON, SUPPORT / "on_request.py", door, *curl, "-o", "/dev/null", "-w", "%{http_code}"],
             env={"LINKERD2_PROXY_SHUTDOWN_ENDPOINT_ENABLED": "true"})
    mesh.wait("the pod is known", lambda: mesh.pod("pod"), 10)
    address = mesh.address("pod")
    mesh.wait("the proxy is ready", lambda: ready(address), 10)
    assert get(address, "/metrics")[0] == 200
    assert get(address, "/shutdown", "POST")[0] == 403
    assert get(address, "/proxy-log-level", "PUT", b"off")[0] == 403
    assert get(address, "/env.json")[0] == 403
    assert " 200 " in from_own_address(address), "the user that runs the mesh"
    if os.getuid() == 0:
        assert " 403 " in from_own_address(address, 65534), "another user, who can bind the address all the same"
    mesh.wait("the pod listens", door.exists, 10)
    for path in ("env.json", "proxy-log-level"):
        done = subprocess.run([*curl, "--unix-socket", door, f"http://pod/{address}:4191/{path}"], capture_output=True, text=True, timeout=20)
        assert done.stdout == "200", (path, done)


def ready(address):
    try:
        return get(address, "/ready")[0] == 200
    except OSError:
        return False


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed, which only root can become")
def test_an_address_is_not_taken_for_the_workload(mesh):
    """A program of another user binds the pod's address and is not let in as the workload itself."""
    mesh.up("--default-inbound-policy", "all-authenticated")
    mesh.origin("closed", "closed", ports="http1")
    mesh.ready("closed")
    address = mesh.address("closed")
    code = ("import socket; s = socket.socket(); s.settimeout(10); s.bind(('{0}', 0)); s.connect(('{0}', 8080)); "
            "s.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'); print(s.recv(100))").format(address)
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=20, user=65534, cwd="/")
    assert "200 OK" not in done.stdout, done
