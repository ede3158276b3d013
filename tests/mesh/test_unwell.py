"""Proxies that stop."""
import os
import re
import signal

import pytest
from mesh import ROOT
from support.mesh import PYTHON
from test_discovery import metrics

# Many requests at once, then twelve more when one of two proxies has stopped.
ASKS = """
import concurrent.futures, http.client, time
def get(_):
    start = time.time()
    c = http.client.HTTPConnection("origin", 8080, timeout=60)
    c.request("GET", "/id")
    r = c.getresponse(); r.read()
    return r.status, round(time.time() - start, 1)
pool = concurrent.futures.ThreadPoolExecutor(12)
print("warm", sorted(pool.map(get, range(40)))[-1], flush=True)
open("STOPPED").read()
print("stopped", sorted(pool.map(get, range(12)), key=lambda a: a[1]), flush=True)
"""


def test_a_proxy_that_stops_is_given_up(mesh):
    """Its connections are asked every 10 s and given up after 3 s more (Linkerd's settings of meshed endpoints)."""
    mesh.up()
    for name in ("origin-1", "origin-2"):
        mesh.origin(name, ports="http1")
    for name in ("origin-1", "origin-2"):
        mesh.ready(name)
    stopped = mesh.folder / "stopped"
    os.mkfifo(stopped)
    pod = mesh.run("client", [PYTHON, "-c", ASKS.replace("STOPPED", str(stopped))])
    mesh.wait("a first round of answers", lambda: "warm (200" in pod.log(), 20)
    pid = mesh.proxy_pid("origin-1")
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped.write_text("now")
        assert pod.wait(60) == 0, pod.log()
    finally:
        os.kill(pid, signal.SIGCONT)
    answers = [(int(s), float(t)) for s, t in re.findall(r"\((\d+), ([\d.]+)\)", pod.log().partition("stopped ")[2])]
    assert len(answers) == 12, pod.log()
    assert all(status in (200, 504) for status, _ in answers), answers
    assert any(status == 200 and took < 5 for status, took in answers), answers
    assert all(took < 25 for _, took in answers), answers


# One stream of answers that would go on for half a minute; what it ended with.
LISTENS = """
import sys
sys.path.insert(0, "STUBS")
import grpc, rates_pb2, rates_pb2_grpc
client = rates_pb2_grpc.RatesStub(grpc.insecure_channel("origin:8082", options=[("grpc.enable_http_proxy", 0)]))
try:
    for answer in client.History(rates_pb2.RateRequest(count=3000, note="x"), timeout=30):
        print("got", answer.instance, flush=True)
except grpc.RpcError as e:
    print("ended", e.code().name, e.details(), flush=True)
"""


@pytest.mark.parametrize("who", ["pod", "program"])
def test_a_grpc_stream_whose_server_dies_is_told_so(mesh, who):
    """UNAVAILABLE, as without a mesh; a reset would be INTERNAL to it."""
    mesh.up()
    origin = mesh.origin("origin", ports="grpc")
    mesh.ready("origin")
    pod = mesh.run("client", [PYTHON, "-c", LISTENS.replace("STUBS", str(ROOT / "build/python"))])
    mesh.wait("the stream flows", lambda: pod.log().count("got") > 5, 20)
    os.kill(origin.pid if who == "pod" else mesh.pid_below("origin", "python3"), signal.SIGKILL)
    assert pod.wait(20) == 0, pod.log()
    assert "ended UNAVAILABLE" in pod.log(), pod.log()[-1000:]


REFUSED = """
import http.client
for _ in range(6):
    c = http.client.HTTPConnection("away", 8080, timeout=20)
    c.request("GET", "/")
    print("status", c.getresponse().status, flush=True)
"""


HANGS_UP = """
import socket
l = socket.create_server(("127.0.0.1", 8080))
while True: l.accept()[0].close()
"""


def test_an_application_that_hangs_up_costs_no_connection_between_the_proxies(mesh):
    """Each request is answered by its proxy, whose connection with the client's is for others, too."""
    mesh.up()
    mesh.run("away", [PYTHON, "-c", HANGS_UP], "--label", "app=away", "--port", "http1=8080")
    mesh.ready("away")
    pod = mesh.run("client", [PYTHON, "-c", REFUSED])
    assert pod.wait(60) == 0 and pod.log().count("status 502") == 6, pod.log()
    opened = [line for line in metrics(mesh, "away").splitlines()
              if line.startswith("tcp_open_total{") and 'direction="inbound"' in line and 'tls="true"' in line and 'target_port="8080"' in line]
    assert [line.split()[-1] for line in opened] == ["1"], opened
