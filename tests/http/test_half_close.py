"""Connections of which one direction ends before the other, through two real proxies."""
from support.mesh import PYTHON, SUPPORT

TUNNEL = SUPPORT / "tunnel.py"


def test_tunnels_end_one_direction_at_a_time(mesh):
    """An upgrade and a CONNECT, either end first, with 1 MiB after that; plain requests of a client that half-closes."""
    mesh.up()
    mesh.start_pod("server", "server", [PYTHON, TUNNEL, "serve", 8080], "--port", "http=8080")
    mesh.ready("server")
    pod = mesh.run("client", [PYTHON, TUNNEL, "ask", "server", "8080"])
    assert pod.wait(90) == 0, pod.log()


def test_a_client_that_half_closes_gets_its_answer(mesh):
    mesh.up()
    mesh.origin("origin", ports="http1")
    mesh.ready("origin")
    script = ("import socket; s = socket.create_connection(('origin', 8080), 10); "
              "s.sendall(b'GET /size/3000000 HTTP/1.1\\r\\nHost: origin\\r\\nx-wait-ms: 300\\r\\n\\r\\n'); s.shutdown(socket.SHUT_WR)\n"
              "got = b''\n"
              "while chunk := s.recv(65536): got += chunk\n"
              "print(got[:15], len(got.split(b'\\r\\n\\r\\n', 1)[-1]))")
    pod = mesh.run("client", [PYTHON, "-c", script])
    assert pod.wait(30) == 0 and "b'HTTP/1.1 200 OK' 3000000" in pod.log(), pod.log()


def test_a_reader_that_pauses_gets_its_whole_response(mesh):
    """Longer than anything that could be taken for a limit of its proxy's, where the connection ends with the response."""
    mesh.up()
    mesh.origin("origin", ports="http1")
    mesh.ready("origin")
    script = ("import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192); s.connect(('origin', 8080))\n"
              "s.sendall(b'GET /size/4000000 HTTP/1.1\\r\\nHost: origin\\r\\nConnection: close\\r\\n\\r\\n'); time.sleep(33)\n"
              "got = b''\n"
              "while chunk := s.recv(1 << 20): got += chunk\n"
              "print(got[:15], len(got.split(b'\\r\\n\\r\\n', 1)[-1]))")
    pod = mesh.run("client", [PYTHON, "-c", script])
    assert pod.wait(60) == 0 and "b'HTTP/1.1 200 OK' 4000000" in pod.log(), pod.log()
