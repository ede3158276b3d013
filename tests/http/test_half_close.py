"""Connections of which one direction ends before the other, through two real proxies."""
from support.mesh import PYTHON, SUPPORT

TUNNEL = SUPPORT / "tunnel.py"
CLIENT = """
import socket
def send(text, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(30)
    s.connect(("origin", 8080))
    s.sendall(text.replace("\\n", "\\r\\n").encode())
    return s
def status_and_size(s):
    got = b""
    while chunk := s.recv(1 << 20):
        got += chunk
    head, _, body = got.partition(b"\\r\\n\\r\\n")
    return head.split(b" ")[1].decode(), len(body)
"""


def ask(mesh, script, **env):
    """What a pod says that runs CLIENT and this."""
    mesh.up()
    mesh.origin("origin", ports="http1")
    mesh.ready("origin")
    pod = mesh.run("client", [PYTHON, "-c", CLIENT + script], env=env)
    assert pod.wait(60) == 0, pod.log()
    return pod.log()


def test_tunnels_end_one_direction_at_a_time(mesh):
    """An upgrade and a CONNECT, either end first, with 1 MiB after that; plain requests of a client that half-closes."""
    mesh.up()
    mesh.start_pod("server", "server", [PYTHON, TUNNEL, "serve", 8080], "--port", "http=8080")
    mesh.ready("server")
    pod = mesh.run("client", [PYTHON, TUNNEL, "ask", "server", "8080"])
    assert pod.wait(90) == 0, pod.log()


def test_a_client_that_half_closes_gets_its_answer(mesh):
    log = ask(mesh, """
s = send("GET /size/3000000 HTTP/1.1\\nHost: origin\\nx-wait-ms: 300\\n\\n")
s.shutdown(socket.SHUT_WR)
print(status_and_size(s))
""")
    assert "('200', 3000000)" in log, log


def test_a_reader_that_pauses_gets_its_whole_response(mesh):
    """It pauses until those that came after it have met every limit of time that its proxy has for a client; its own
    connection ends with the response."""
    log = ask(mesh, """
paused = send("GET /size/4000000 HTTP/1.1\\nHost: origin\\nConnection: close\\n\\n", 8192)
half_closed = send("GET / HTTP/1.1\\nHost: origin\\nx-wait-ms: 60000\\n\\n")
half_closed.shutdown(socket.SHUT_WR)
unfinished = send("GET / HTTP/1.1\\nHost: origin\\n")
idle = send("GET / HTTP/1.1\\nHost: origin\\n\\n")
print(*map(status_and_size, (idle, unfinished, half_closed, paused)))
""", TULLE_PROXY_HTTP_HEADER_TIMEOUT="1s", TULLE_PROXY_HTTP_IDLE_TIMEOUT="1s")
    assert "('408', 0) ('504', 0) ('200', 4000000)" in log, log
