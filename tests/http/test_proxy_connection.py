"""`l5d-proxy-connection: close` of a server's proxy: whose connection ends with the error that it answers."""
import pytest
from support.mesh import PYTHON, SUPPORT

DEAD = 8099  # nothing listens there
HTTP2 = """
import sys
sys.path.insert(0, sys.argv[1])
from frames import END, END_HEADERS, HEADERS, Peer, frame, request
peer = Peer(sys.argv[2], int(sys.argv[3]))
peer.send(frame(HEADERS, END_HEADERS | END, 1, request('origin')))
peer.wait(10, lambda: peer.ended)
peer.wait(0.3, lambda: peer.goaway is not None)
print('answers', peer.ended, 'goaway', peer.goaway)
"""


@pytest.fixture
def places(mesh):
    mesh.up()
    mesh.run("origin", [PYTHON, "-m", "http.server", "8080"], "--port", "http1=8080", "--port", f"dead={DEAD}", "--ready-path", "/")
    mesh.ready("origin")
    return {"one": mesh.address("origin"), "service": "origin"}


def test_http1(mesh, places):
    for what, place in places.items():
        _, log = mesh.curl(what, "-i", f"http://{place}:{DEAD}/")
        assert "HTTP/1.1 502 " in log and "l5d-proxy-error: " in log and "l5d-proxy-connection" not in log, log
        assert ("connection: close" in log) == (what == "one"), log


def test_http2(mesh, places):
    for what, place in places.items():
        pod = mesh.run(what, [PYTHON, "-B", "-c", HTTP2, SUPPORT.parent / "hostile", place, DEAD])
        pod.wait(20)
        assert f"answers 1 goaway {0 if what == 'one' else None}" in pod.log(), pod.log()
