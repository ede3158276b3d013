"""An origin that shows what reached it: echo.py HTTP1_PORT HTTP2_PORT. The answer's body is the request's head, body and
trailers as JSON; each answer says things in a proxy's name, which no application may."""
import json
import socket
import sys
import threading

import hpack
from frames import ACK, DATA, END, END_HEADERS, GOAWAY, HEADERS, SETTINGS, frame, settings

FORGED = [("l5d-proxy-error", "forged"), ("l5d-proxy-connection", "close"), ("l5d-orig-proto", "HTTP/1.0"), ("l5d-client-id", "forged")]


def take(sock, buffer, until):
    """Reads until `until(buffer)` gives how many bytes make a whole; those, and the rest."""
    while (n := until(buffer)) is None:
        more = sock.recv(65536)
        if not more:
            raise EOFError
        buffer += more
    return buffer[:n], buffer[n:]


def after(mark):
    return lambda b: b.find(mark) + len(mark) if mark in b else None


def http1(sock):
    head, rest = take(sock, b"", after(b"\r\n\r\n"))
    trailers = b""
    if b"transfer-encoding: chunked" in head.lower():
        body, _ = take(sock, rest, lambda b: after(b"\r\n\r\n")(b) if b"0\r\n" in b else None)
        trailers = body.partition(b"0\r\n")[2]
    body = json.dumps({"head": head.decode("latin-1"), "trailers": trailers.decode("latin-1")}).encode()
    fields = "".join(f"{k}: {v}\r\n" for k, v in FORGED)
    if b"x-hints:" in head.lower():
        sock.sendall(f"HTTP/1.1 103 Early Hints\r\nlink: kept\r\n{fields}x-hop: x\r\nconnection: x-hop\r\n\r\n".encode())
    sock.sendall(f"HTTP/1.1 200 OK\r\n{fields}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)


def http2(sock):
    encoder, decoder, heads = hpack.Encoder(), hpack.Decoder(), {}
    sock.sendall(settings())
    _, buffer = take(sock, b"", lambda b: 24 if len(b) >= 24 else None)
    while True:
        head, buffer = take(sock, buffer, lambda b: 9 if len(b) >= 9 else None)
        size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        payload, buffer = take(sock, buffer, lambda b: size if len(b) >= size else None)
        if kind == SETTINGS and not flags & ACK:
            sock.sendall(frame(SETTINGS, ACK, 0))
        elif kind == GOAWAY:
            return
        elif kind == HEADERS:
            heads.setdefault(stream, []).append("\n".join(f"{k}: {v}" for k, v in decoder.decode(payload)))
        if kind in (HEADERS, DATA) and flags & END:
            parts = heads.pop(stream)
            body = json.dumps({"head": parts[0], "trailers": "".join(parts[1:])}).encode()
            sock.sendall(frame(HEADERS, END_HEADERS, stream, encoder.encode([(":status", "200"), *FORGED])) + frame(DATA, 0, stream, body) +
                         frame(HEADERS, END_HEADERS | END, stream, encoder.encode([("x-trailer", "kept"), *FORGED])))


def quietly(serve, sock):
    try:
        with sock:
            serve(sock)
    except (OSError, EOFError):
        pass


def listen(port, serve):
    listener = socket.create_server(("0.0.0.0", port))
    while True:
        threading.Thread(target=quietly, args=(serve, listener.accept()[0]), daemon=True).start()


if __name__ == "__main__":
    threading.Thread(target=listen, args=(int(sys.argv[2]), http2), daemon=True).start()
    listen(int(sys.argv[1]), http1)
