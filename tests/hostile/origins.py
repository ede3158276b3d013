"""Origins that break the rules, one port each, and behind the last an honest one, which also says how many requests each
has seen: origins.py serve FIRST_PORT; and who asks them through the mesh: origins.py ask HOST FIRST_PORT, which prints
{row: what came of one request}, for those that speak HTTP/2 of four; and what an honest client beside sees meanwhile."""
import asyncio
import json
import re
import socket
import struct
import sys
import threading
import time

import lab
from frames import CONTINUATION, END, END_HEADERS, GOAWAY, HEADERS, RST, Peer, field, frame, request, settings


def pour(sock, first, make, most=200_000):
    sock.sendall(first)
    for i in range(most):
        sock.sendall(make(i))


def endless_headers(sock):
    pour(sock, b"HTTP/1.1 200 OK\r\n", lambda i: b"x-%d: y\r\n" % i * 10)


def endless_status_line(sock):
    pour(sock, b"HTTP/1.1 200 ", lambda i: b"O" * 1000)


def endless_interims(sock):
    pour(sock, b"", lambda i: b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")


def body_too_short(sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")


def body_too_long(sock):
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    sock.recv(1)  # the other end closes


def late_reset(sock):
    """When the client has the part: it sends its body then."""
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
    sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def no_answer(sock):
    pass


# ---- HTTP/2. Requests have arrived when these are called; `stream` is the last one's.

def h2_interims(sock, stream):
    pour(sock, b"", lambda i: frame(HEADERS, END_HEADERS, stream, field(":status", "103")))


def h2_endless_block(sock, stream):
    pour(sock, frame(HEADERS, 0, stream, b"\x88"), lambda i: frame(CONTINUATION, 0, stream, field("x", "y" * 100)))


def h2_goaway_zero(sock, stream):
    sock.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0)))


def h2_reset(sock, stream):
    sock.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88") + frame(RST, 0, stream, b"\0\0\0\2"))


def h2_one_stream(sock, stream):
    """Says that it takes one at a time, and means it."""
    sock.sendall(frame(HEADERS, END_HEADERS | END, stream, b"\x88"))


def one_h2(row, sock):
    try:
        sock.sendall(settings((3, 1)) if row is h2_one_stream else settings())
        buffer = b""
        while data := sock.recv(65536):
            buffer = (buffer + data).removeprefix(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                if buffer[3] == HEADERS:
                    REQUESTS[row.__name__] += 1
                    row(sock, int.from_bytes(buffer[5:9], "big"))
                buffer = buffer[9 + int.from_bytes(buffer[:3], "big"):]
    except OSError:
        pass
    finally:
        sock.close()


H2_ROWS = [h2_interims, h2_endless_block, h2_goaway_zero, h2_reset, h2_one_stream]
ROWS = [endless_headers, endless_status_line, endless_interims, body_too_short, body_too_long, late_reset, no_answer, *H2_ROWS]
REQUESTS = {row.__name__: 0 for row in ROWS}  # seen by each


def honest(sock):
    while data := sock.recv(65536):
        body = json.dumps(REQUESTS).encode() if data.startswith(b"GET /requests") else b"ok"
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def one(row, sock):
    try:
        REQUESTS[row.__name__] += bool(sock.recv(65536))
        row(sock)
    except OSError:
        pass
    finally:
        sock.close()


def listen(row, port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        sock, _ = server.accept()
        how = {"target": honest, "args": (sock,)} if row is honest else {"target": one_h2 if row in H2_ROWS else one, "args": (row, sock)}
        threading.Thread(**how, daemon=True).start()


def ask(host, port, row):
    """[1xx heads, status line, is all of the body there, body, seconds]; "reset" for a status line that did not come."""
    start, answer = time.monotonic(), b""
    try:
        with socket.create_connection((host, port), 10) as sock:
            body = b"x" if row is late_reset else b""
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            while data := sock.recv(65536):
                answer += data
                if body and answer.endswith(b"part"):
                    sock.sendall(body)
    except OSError:
        pass
    heads, interims = answer.decode("latin-1"), 0
    while heads.startswith("HTTP/1.1 1"):
        heads, interims = heads.partition("\r\n\r\n")[2], interims + 1
    head, _, body = heads.partition("\r\n\r\n")
    length = re.search(r"(?i)content-length: (\d+)", head)
    whole = bool(length) and len(body) == int(length[1])
    return [interims, head.split("\r\n")[0] or "reset", whole, body, round(time.monotonic() - start, 3)]


def ask_h2(host, port, row):
    """[ended streams, resets, seconds] of four requests at once."""
    start = time.monotonic()
    peer = Peer(host, port)
    peer.send(b"".join(frame(HEADERS, END_HEADERS | END, i, request(host)) for i in (1, 3, 5, 7)))
    peer.wait(8, lambda: peer.ended + peer.seen.get(RST, 0) >= 4)
    return [peer.ended, peer.seen.get(RST, 0), round(time.monotonic() - start, 3)]


def beside(host, port, row, seconds=0.4):
    """The row asked by four at once, again and again, and an honest client: what each request brought, and what the honest
    client saw."""
    until, results = time.monotonic() + seconds, []

    def again():
        while not results or time.monotonic() < until:
            results.append((ask_h2 if row in H2_ROWS else ask)(host, port, row))
    threads = [threading.Thread(target=again) for _ in range(4)]
    for t in threads:
        t.start()
    seen = asyncio.run(lab.honest(host, port - ROWS.index(row) + len(ROWS), seconds, 50))
    for t in threads:
        t.join()
    return {"results": results, "honest": seen}


def ask_all(host, first):
    out = {row.__name__: beside(host, first + i, row) for i, row in enumerate(ROWS)}
    with socket.create_connection((host, first + len(ROWS)), 5) as sock:
        sock.sendall(f"GET /requests HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    return {"rows": out, "requests": json.loads(answer.partition(b"\r\n\r\n")[2])}


def main():
    if sys.argv[1] == "serve":
        for i, row in enumerate([*ROWS, honest]):
            threading.Thread(target=listen, args=(row, int(sys.argv[2]) + i), daemon=True).start()
        threading.Event().wait()
    print(json.dumps(ask_all(sys.argv[2], int(sys.argv[3]))))


if __name__ == "__main__":
    main()
