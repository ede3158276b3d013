"""What is almost a request is refused, and does not pass as raw bytes around routes, authorization and the headers that
only proxies may set: an application less strict than the proxy would serve it."""
import json
import socket

import pytest
from support.mesh import PYTHON, server

# Takes anything and writes down the first line that came, if any.
APPLICATION = """
import socket, sys, threading
def serve(c):
    text = b""
    while b"\\r\\n\\r\\n" not in text and (more := c.recv(65536)):
        text += more
    if text: print("came", text.strip().split(b"\\n")[0], flush=True)
    c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\nserved")
    c.close()
l = socket.create_server(("127.0.0.1", 8080), backlog=100)
while True:
    threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
"""
ROUTE = """
    apiVersion: policy.linkerd.io/v1beta3
    kind: HTTPRoute
    metadata: {name: public, namespace: default}
    spec:
      parentRefs: [{group: policy.linkerd.io, kind: Server, name: app}]
      rules: [{matches: [{path: {type: PathPrefix, value: /public}}]}]
"""
REST = " HTTP/1.1\r\nHost: app\r\nl5d-client-id: admin.default.serviceaccount.identity.linkerd.cluster.local\r\nConnection: close\r\n\r\n"
# What is sent, piece by piece, with a pause longer than the time of detection between the pieces.
ALMOST = {
    "two blanks": ["GET  /admin" + REST],
    "a tab": ["GET\t/admin" + REST],
    "a bare LF first": ["\nGET /admin" + REST],
    "two empty lines first": ["\r\n\r\nGET /admin" + REST],
    "HTTP/0.9": ["GET /admin\r\n\r\n"],
    "lower case": ["get  /admin" + REST.replace("HTTP", "http")],
    "another version": ["GET /admin" + REST.replace("HTTP/1.1", "HTTP/2.0")],
    "no ASCII": ["GET /admin\xff" + REST],
    "a control character": ["GET /admin\x01" + REST],
    "strictly right": ["GET /admin" + REST],
    "silence": ["", "GET /admin" + REST],
    "silence, and almost": ["", "GET  /admin" + REST],
    "a method cut short": ["GE", "T /admin" + REST],
    "any method cut short": ["FO", "O /admin" + REST],
    "a version cut short": ["FOO /admin HT", "TP" + REST.removeprefix(" HTTP")],
    "an empty line, and silence": ["\r\n", "GET /admin" + REST],
    "a long method": ["A" * 40 + " /admin" + REST],
    "a blank first": [" GET /admin" + REST],
    "NUL first": ["\0GET /admin" + REST],
    "no-break blanks": ["GET\xa0/admin" + REST.replace(" HTTP", "\xa0HTTP")],
    "CR for a blank": ["GET\r/admin" + REST],
    "a URL of HTTP/0.9": ["GET http://app/admin\r\n\r\n"],
    "HTTP/0.9 without a slash": ["GET admin" + REST.replace(" HTTP/1.1", "")],
    "RTSP": ["DESCRIBE rtsp://app/admin" + REST.replace("HTTP/1.1", "RTSP/1.0")],
    "RTSP with a URL": ["DESCRIBE http://app/admin" + REST.replace("HTTP/1.1", "RTSP/1.0")],
    "a blank of Latin-1 first": ["\x85GET /admin" + REST],
    "separators of ASCII": ["GET\x1c/admin\x1f" + REST.lstrip()],
    "another protocol's version": ["FOO /admin" + REST.replace("HTTP/1.1", "ICY/1.1")],
    # A ClientHello of control characters and blanks only, which some servers skip before a request.
    "something like TLS": ["\x16\x03\x01\0\x8a\x01\0\0\x86\x03\x03" + 65 * " " + "\0" + 66 * " " + "GET /admin" + REST],
}
PAUSE = 11  # s; detection takes ten
# Sends each of the cases of a JSON file to HOST PORT, all at once; prints {case: what came back}.
CLIENT = """
import json, socket, sys, threading, time
host, port, cases, pause = sys.argv[1], int(sys.argv[2]), json.load(open(sys.argv[3])), float(sys.argv[4])
came = {}
def send(name, pieces):
    with socket.create_connection((host, port), 30) as s:
        s.settimeout(40)
        text = b""
        try:
            for i, piece in enumerate(pieces):
                if i: time.sleep(pause)  # the case is about this time
                s.sendall(piece.encode("latin-1"))
            while more := s.recv(65536): text += more
        except OSError as e: text += str(e).encode()
    came[name] = text.decode("latin-1")
threads = [threading.Thread(target=send, args=case) for case in cases.items()]
for t in threads: t.start()
for t in threads: t.join()
print("RESULT " + json.dumps(came))
"""


def result(text):
    return json.loads(next(line for line in text.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT "))


@pytest.mark.parametrize("protocol", ["HTTP/1", "unknown"], ids=["http1", "detected"])
def test_almost_a_request(mesh, protocol):
    mesh.manifest("policy.yaml", server("app", policy="all-unauthenticated", protocol=protocol))
    mesh.manifest("route.yaml", ROUTE)
    mesh.up()
    app = mesh.run("app", [PYTHON, "-c", APPLICATION], "--label", "app=app", "--port", "http1=8080")
    mesh.ready("app")
    (mesh.folder / "cases").write_text(json.dumps(ALMOST))
    client = [PYTHON, "-c", CLIENT]
    pods = {"meshed": mesh.run("client", [*client, "app", "8080", mesh.folder / "cases", str(PAUSE)]),
            "plain": mesh.processes.start("plain", [*client, mesh.address("app"), "8080", mesh.folder / "cases", str(PAUSE)])}
    for who, pod in pods.items():
        assert pod.wait(90) == 0, pod.log()
        got = result(pod.log())
        assert set(got) == set(ALMOST)
        status = {name: text.split(" ")[1] if text.startswith("HTTP/1.1 ") else text for name, text in got.items()}
        assert status["strictly right"] == status["silence"] == "404", (who, status)
        assert set(status.values()) <= {"400", "404", "408", "505"}, (who, status)
    assert "came" not in app.log(), app.log()


# An HTTP/2 server, which does not wait for its client's first word; and says what came.
GREETER = """
import socket, threading
def serve(c):
    c.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    while more := c.recv(65536): print("came", more[:64], flush=True)
l = socket.create_server(("127.0.0.1", 8080), backlog=100)
while True:
    threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()
"""


def test_an_application_that_greets_in_http2(mesh):
    """It is one of requests, also for a client that is silent for a while: its greeting makes no raw bytes of them."""
    mesh.manifest("policy.yaml", server("guarded", port="web", policy="all-unauthenticated", protocol="unknown"))
    mesh.manifest("route.yaml", ROUTE.replace("name: app", "name: guarded"))
    mesh.up()
    request = bytes.fromhex("505249202a20485454502f322e300d0a0d0a534d0d0a0d0a" "000000040000000000" "00000d0105000000018286410161" "44062f61646d696e")
    for app in "guarded", "open":
        served = mesh.run(app, [PYTHON, "-c", GREETER], "--label", f"app={app}", "--port", "web=8080")
        mesh.ready(app)
        with socket.create_connection((mesh.address(app), 8080), 10) as s:
            s.settimeout(1)  # the proxy asks the application after a quarter of it
            with pytest.raises(TimeoutError):
                s.recv(1)
            s.settimeout(10)
            s.sendall(request)
            data = b""
            while b"\x88\0\0" not in data and b"\0\0\0\1" not in data:
                more = s.recv(65536)
                assert more, data
                data += more
        if app == "guarded":
            assert "came" not in served.log(), served.log()


def test_a_sender_that_says_raw_bytes(mesh, tmp_path):
    """A meshed peer says by its transport header that these are raw bytes; the Server says HTTP."""
    from support.control import Workload
    from support.mesh_tls import ALPN, DIRECT_PORT, PREFACE, Certificate
    import transport_pb2
    mesh.manifest("policy.yaml", server("app", policy="all-authenticated", protocol="HTTP/1"))
    mesh.manifest("route.yaml", ROUTE)
    mesh.up()
    app = mesh.run("app", [PYTHON, "-c", APPLICATION], "--label", "app=app", "--port", "http1=8080")
    mesh.ready("app")
    peer = Workload(mesh.name, "peer", "peer")
    certificate = Certificate(peer, tmp_path)
    context = certificate.client_context()
    context.set_alpn_protocols([ALPN])
    payload = transport_pb2.Header(port=8080).SerializeToString()
    for path, code in (("/admin", "404"), (" /admin", "400"), ("/public", "200")):
        with socket.create_connection((mesh.address("app"), DIRECT_PORT), 10) as plain, \
                context.wrap_socket(plain, server_hostname=certificate.name) as s:
            s.sendall(PREFACE + len(payload).to_bytes(4, "big") + payload + f"GET {path}{REST}".encode())
            assert s.recv(65536).decode().split(" ")[1] == code, path
    peer.close()
    assert app.log().count("came") == 1, app.log()
