"""A route's timeouts cover the whole exchange: from the client's request to the last byte of the response."""
import re
import urllib.request

from support.mesh import PYTHON, SUPPORT

ROUTE = """
    apiVersion: v1
    kind: Service
    metadata: {{name: origin, namespace: default}}
    spec:
      selector: {{app: {app}}}
      ports: [{{name: http1, port: 80, targetPort: http1}}, {{name: h2, port: 81, targetPort: h2}}, {{name: grpc, port: 82, targetPort: grpc}}]
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {{name: origin, namespace: default}}
    spec:
      parentRefs: [{{group: "", kind: Service, name: origin, port: {port}}}]
      rules:
      - timeouts: {{{timeouts}}}
        backendRefs: [{{name: origin, port: {port}}}]
"""
# Answers each request with a head and half of the body, and then with nothing.
STALLS = """
import socket, threading, time
def serve(c):
    while c.recv(65536): c.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 10\\r\\n\\r\\nhello')
s = socket.create_server(('0.0.0.0', 8080))
while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""
CURL = "curl -sS -o /dev/null -w '%{{http_code}} %{{exitcode}} %{{time_total}} %{{size_download}}\\n' --max-time 20 {0}; echo done; sleep infinity"


def routed(mesh, timeouts, port=80, app="origin"):
    mesh.manifest("route.yaml", ROUTE.format(timeouts=timeouts, port=port, app=app))
    mesh.up()


def curl(mesh, words):
    """(status, curl's exit code, seconds, bytes) of one request, and the metrics of the client's proxy after it."""
    pod = mesh.run("client", ["sh", "-c", CURL.format(words)])
    mesh.wait("curl is done", lambda: "done" in pod.log() or not pod.running(), 40)
    line = re.search(r"^(\d+) (\d+) ([\d.]+) (\d+)$", pod.log(), re.M)
    assert line, pod.log()
    with urllib.request.urlopen(f"http://{mesh.address('client')}:4191/metrics", timeout=10) as answer:
        metrics = answer.read().decode()
    return int(line[1]), int(line[2]), float(line[3]), int(line[4]), metrics


def count(metrics, family, **labels):
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines()
               if line.startswith(family + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()))


def test_before_the_response(mesh):
    routed(mesh, "request: 500ms")
    mesh.origin("origin", "origin", "--label", "app=origin", ports="http1 grpc")
    mesh.ready("origin")
    status, code, seconds, _, metrics = curl(mesh, "-H 'x-wait-ms: 10000' http://origin/")
    assert (status, code) == (504, 0) and 0.4 < seconds < 3, (status, code, seconds)
    assert count(metrics, "outbound_http_errors_total", error="response timeout", reason="timeout") == 1, metrics
    assert count(metrics, "response_total", direction="outbound", error="REQUEST_TIMEOUT", classification="failure") == 1


def test_while_no_endpoint_is_there(mesh):
    routed(mesh, "request: 500ms", app="nobody")
    status, code, seconds, _, metrics = curl(mesh, "http://origin/")
    assert (status, code) == (504, 0) and 0.4 < seconds < 2, (status, code, seconds)
    assert count(metrics, "outbound_http_errors_total", reason="timeout") == 1, metrics


def test_while_the_request_is_sent(mesh):
    """A client that is slow with its body does not get more time for it."""
    routed(mesh, "request: 700ms")
    mesh.origin("origin", "origin", "--label", "app=origin", ports="http1 grpc")
    mesh.ready("origin")
    words = "--limit-rate 1000 -H 'Expect:' --data-binary @/etc/services http://origin/count"
    status, _, seconds, _, metrics = curl(mesh, words)
    assert status == 504 and 0.6 < seconds < 5, (status, seconds)
    assert count(metrics, "outbound_http_errors_total", reason="timeout") == 1, metrics


def test_after_the_head(mesh):
    """The response is broken off: the client learns that it is not whole."""
    routed(mesh, "request: 700ms")
    mesh.run("origin", [PYTHON, "-c", STALLS], "--label", "app=origin", "--port", "http1=8080")
    mesh.ready("origin")
    status, code, seconds, size, metrics = curl(mesh, "http://origin/")
    assert status == 200 and code in (18, 56) and size == 5 and 0.6 < seconds < 4, (status, code, seconds, size)
    assert count(metrics, "outbound_http_errors_total", reason="timeout") == 1, metrics
    assert count(metrics, "response_total", direction="outbound", error="REQUEST_TIMEOUT", classification="failure") == 1, metrics


SLOW_READER = """
import sys
sys.path.insert(0, sys.argv[1])
from frames import DATA, END, END_HEADERS, HEADERS, RST, WINDOW, Peer, frame, request
peer = Peer('origin', 81)
peer.send(frame(HEADERS, END_HEADERS | END, 1, request('origin', '/')))
peer.wait(2, lambda: False)
before = peer.got, peer.seen.get(RST, 0)
for stream in (0, 1): peer.send(frame(WINDOW, 0, stream, (1 << 20).to_bytes(4, 'big')))
peer.wait(5, lambda: peer.seen.get(RST))
print('ended', peer.ok, before[0] >= 65535, before[1], peer.got - before[0] > 16384, peer.seen.get(RST), peer.goaway)
"""


def test_a_slow_reader_gets_what_was_forwarded_already(mesh):
    """HTTP/2: the reset comes behind it."""
    routed(mesh, "request: 700ms", port=81)
    hostile = SUPPORT.parent / "hostile"
    mesh.run("origin", [PYTHON, "-B", hostile / "lab.py", "serve", mesh.folder / "served"], "--label", "app=origin", "--port", "h2=8082")
    mesh.ready("origin")
    pod = mesh.run("client", [PYTHON, "-c", SLOW_READER, hostile])
    pod.wait(30)
    assert "ended 1 True 0 True 1 None" in pod.log(), pod.log()


def test_one_attempt(mesh):
    routed(mesh, "request: 10s, backendRequest: 500ms")
    mesh.run("origin", [PYTHON, "-c", STALLS], "--label", "app=origin", "--port", "http1=8080")
    mesh.ready("origin")
    status, code, seconds, size, metrics = curl(mesh, "http://origin/")
    assert status == 200 and code in (18, 56) and size == 5 and 0.4 < seconds < 4, (status, code, seconds, size)


def test_within_the_time_nothing_changes(mesh):
    routed(mesh, "request: 10s, backendRequest: 10s")
    mesh.origin("origin", "origin", "--label", "app=origin", ports="http1 grpc")
    mesh.ready("origin")
    size = 8 << 20
    status, code, _, got, metrics = curl(mesh, f"http://origin/size/{size}")
    assert (status, code, got) == (200, 0, size)
    assert count(metrics, "outbound_http_errors_total") == 0
    assert count(metrics, "response_total", direction="outbound", classification="success") == 1, metrics


def test_a_grpc_stream_ends_with_its_status(mesh):
    routed(mesh, "request: 700ms", port=82)
    mesh.origin("origin", "origin", "--label", "app=origin", ports="http1 grpc")
    mesh.ready("origin")
    script = ("import sys; sys.path.insert(0, sys.argv[1])\n"
              "import grpc, rates_pb2, rates_pb2_grpc\n"
              "stub = rates_pb2_grpc.RatesStub(grpc.insecure_channel('origin:82', options=[('grpc.enable_http_proxy', 0)]))\n"
              "n = 0\n"
              "try:\n"
              " for _ in stub.History(rates_pb2.RateRequest(note='x', count=1000)): n += 1\n"
              "except grpc.RpcError as e: print('ended', e.code().name, n > 5, e.details())")
    pod = mesh.run("client", [PYTHON, "-c", script, SUPPORT.parents[1] / "build/python"])
    pod.wait(30)
    assert "ended DEADLINE_EXCEEDED True request timeout of 700ms passed" in pod.log(), pod.log()


def test_an_instance_that_does_not_answer_in_time_is_taken_for_slow(mesh):
    """What it does is seen as a latency of at least the timeout: requests go elsewhere."""
    routed(mesh, "request: 200ms")
    mesh.origin("good", "origin", "--label", "app=origin", ports="http1 grpc")
    mute = "import socket, time\ns = socket.create_server(('0.0.0.0', 8080)); kept = []\nwhile True: kept.append(s.accept())"
    mesh.run("mute", [PYTHON, "-c", mute], "--label", "app=origin", "--port", "http1=8080")
    mesh.ready("good")
    mesh.ready("mute")
    mesh.wait("both are endpoints", lambda: len(mesh.endpoints("origin", 80)) == 2, 10)
    code, log = mesh.curl("client", "-o", "/dev/null", "-w", "answered %{http_code}\\n", *["http://origin/"] * 40, seconds=60)
    assert log.count("answered 200") + log.count("answered 504") == 40, log
    assert log.count("answered 504") <= 5, log
