"""A message that its sender breaks off, through two real proxies: all that came before the break arrives, in order, and
what arrives never looks complete."""
import collections
import json

from support import broken
from support.mesh import PYTHON, SUPPORT

TIMES = 20
EVENTS = broken.FEW + broken.MANY
WANTED = {
    "chunked": f"{EVENTS} events, 0 bytes, closed",
    "to HTTP/1.0": f"{EVENTS} events, 0 bytes, ConnectionResetError",  # nothing else could tell it from the end
    "length 3000": "0 events, 3000 bytes, closed",
    "length 7000": "0 events, 7000 bytes, closed",
    "HTTP/2": f"{EVENTS * 1000} bytes, reset {broken.CODE}",
    "gRPC": f"{EVENTS} messages, DATA_LOSS enough",
    "HTTP/1 request": "sent",
    "HTTP/2 request": "sent",
}


def test_what_came_before_a_break_arrives(mesh):
    mesh.up()
    log = mesh.folder / "uploads"
    mesh.start_pod("server", "server", [PYTHON, "-B", SUPPORT / "broken.py", "serve", log],
                   "--port", "http1=8080", "--port", "h2=8081", "--port", "grpc=8082")
    mesh.ready("server")
    pod = mesh.run("client", [PYTHON, "-B", SUPPORT / "broken.py", "ask", "server", TIMES])
    assert pod.wait(120) == 0, pod.log()
    seen = json.loads(pod.log().strip().splitlines()[-1])
    assert seen == {row: {wanted: TIMES} for row, wanted in WANTED.items()}, json.dumps(seen, indent=1)
    uploads = mesh.wait("the uploads", lambda: len(lines := log.read_text().splitlines()) == 2 * TIMES and lines, 10)
    assert collections.Counter(uploads) == {f"{EVENTS * 999} closed": TIMES, f"{EVENTS * 999} reset": TIMES}
