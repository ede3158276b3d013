"""Messages that their sender breaks off, over HTTP/1, HTTP/2 and gRPC.

broken.py serve LOG     on 8080 (HTTP/1), 8081 (HTTP/2) and 8082 (gRPC); LOG gets "BYTES END" of each request body that broke off
broken.py ask HOST N    each row N times; prints {row: [what came, as often as it did so]}
"""
import collections
import concurrent.futures
import json
import pathlib
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "hostile"))
from frames import DATA, END, END_HEADERS, HEADERS, PREFACE, RST, WINDOW, Peer, field, frame, request, settings  # noqa: E402

FEW, PAUSE, MANY = 5, 0.02, 40  # messages one by one, and then at once, before the end
EVENT = b"z" * 999 + b"\n"
CODE = 11  # ENHANCE_YOUR_CALM: not what a proxy would say by itself


def pour(send, events, last=b""):
    for _ in range(FEW):
        send(events[0])
        time.sleep(PAUSE)
    send(b"".join(events[1:]) + last)


def upload(log, got, end):
    with open(log, "a", encoding="ascii") as f:
        f.write(f"{got} {end}\n")


# ---- Applications

def http1(sock, log):
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(65536)
    head, _, body = head.partition(b"\r\n\r\n")
    path = head.split(b" ")[1].decode()
    if path == "/events":
        event = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        pour(sock.sendall, [event] * (MANY + 1))
    elif path.startswith("/length/"):
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * int(path.rpartition("/")[2]))
    else:
        end = "closed"
        try:
            while data := sock.recv(65536):
                body += data
        except OSError:
            end = "reset"
        upload(log, body.count(b"z"), "complete" if body.endswith(b"\r\n0\r\n\r\n") else end)


def http2(sock, log):
    sock.sendall(settings((4, 1 << 20)))
    buffer, got = b"", collections.Counter()
    while data := sock.recv(65536):
        buffer = (buffer + data).removeprefix(PREFACE)
        while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
            size, kind, flags, stream = int.from_bytes(buffer[:3], "big"), buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big")
            payload, buffer = buffer[9:9 + size], buffer[9 + size:]
            if kind == HEADERS and flags & END:
                sock.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88" + field("content-type", "application/grpc")))
                pour(sock.sendall, [frame(DATA, 0, stream, EVENT)] * (MANY + 1), frame(RST, 0, stream, struct.pack(">I", CODE)))
            elif kind == DATA:
                got[stream] += payload.count(b"z")
                if size:
                    sock.sendall(frame(WINDOW, 0, 0, struct.pack(">I", size)))
            if kind == RST or (kind == DATA and flags & END):
                upload(log, got[stream], "reset" if kind == RST else "complete")


def one(row, sock, log):
    try:
        row(sock, log)
    except OSError:
        pass
    finally:
        sock.close()


def listen(row, port, log):
    with socket.create_server(("0.0.0.0", port), backlog=100) as server:
        while True:
            threading.Thread(target=one, args=(row, server.accept()[0], log), daemon=True).start()


def serve_grpc(port):
    import grpc

    class Handler(grpc.GenericRpcHandler):
        def service(self, _):
            return grpc.unary_stream_rpc_method_handler(self.events)

        def events(self, _, context):
            for i in range(FEW + MANY):
                yield EVENT
                if i < FEW:
                    time.sleep(PAUSE)
            context.abort(grpc.StatusCode.DATA_LOSS, "enough")

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(20), [Handler()])
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination()


# ---- Clients: each gives what it has seen, as a text

def ask_http1(host, path, version="1.1"):
    got, end = b"", "closed"
    with socket.create_connection((host, 8080), 20) as sock:
        sock.sendall(f"GET {path} HTTP/{version}\r\nHost: {host}\r\n\r\n".encode())
        try:
            while data := sock.recv(65536):
                got += data
        except OSError as e:
            end = type(e).__name__
    end = "complete" if got.endswith(b"0\r\n\r\n") else end
    return f"{got.count(EVENT)} events, {got.count(b'x' * 100) * 100} bytes, {end}"


def ask_http2(host):
    """Its windows are small, so that most of it is held back when the application breaks off."""
    got, code = 0, None
    with socket.create_connection((host, 8081), 20) as sock:
        sock.sendall(PREFACE + settings((4, 3000)) + frame(HEADERS, END_HEADERS | END, 1, request(host)))
        buffer = b""
        while code is None and (data := sock.recv(65536)):
            buffer += data
            while len(buffer) >= 9 and len(buffer) >= 9 + int.from_bytes(buffer[:3], "big"):
                size, kind = int.from_bytes(buffer[:3], "big"), buffer[3]
                payload, buffer = buffer[9:9 + size], buffer[9 + size:]
                if kind == DATA and size:
                    got += size
                    sock.sendall(b"".join(frame(WINDOW, 0, s, struct.pack(">I", size)) for s in (0, 1)))
                if kind == RST:
                    code = int.from_bytes(payload, "big")
    return f"{got} bytes, reset {code}"


def ask_grpc(channel):
    import grpc
    got = 0
    try:
        for _ in channel.unary_stream("/test/Events")(b""):
            got += 1
    except grpc.RpcError as e:
        return f"{got} messages, {e.code().name} {e.details()}"
    return f"{got} messages, OK"


def send_http1(host):
    with socket.create_connection((host, 8080), 20) as sock:
        sock.sendall(f"POST /upload HTTP/1.1\r\nHost: {host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        pour(sock.sendall, [b"%x\r\n%s\r\n" % (len(EVENT), EVENT)] * (MANY + 1))
    return "sent"


def send_http2(host):
    peer = Peer(host, 8081)
    peer.send(frame(HEADERS, END_HEADERS, 1, request(host, "/upload", "POST")))
    pour(peer.send, [frame(DATA, 0, 1, EVENT)] * (MANY + 1), frame(RST, 0, 1, struct.pack(">I", 8)))
    peer.close()
    return "sent"


def main():
    if sys.argv[1] == "serve":
        for row, port in ((http1, 8080), (http2, 8081)):
            threading.Thread(target=listen, args=(row, port, sys.argv[2]), daemon=True).start()
        serve_grpc(8082)
    host, count = sys.argv[2], int(sys.argv[3])
    import grpc
    channel = grpc.insecure_channel(f"{host}:8082", [("grpc.enable_http_proxy", 0)])
    rows = {
        "chunked": lambda: ask_http1(host, "/events"), "to HTTP/1.0": lambda: ask_http1(host, "/events", "1.0"),
        "length 3000": lambda: ask_http1(host, "/length/3000"), "length 7000": lambda: ask_http1(host, "/length/7000"),
        "HTTP/2": lambda: ask_http2(host), "gRPC": lambda: ask_grpc(channel),
        "HTTP/1 request": lambda: send_http1(host), "HTTP/2 request": lambda: send_http2(host),
    }
    print(json.dumps({name: collections.Counter(row() for _ in range(count)) for name, row in rows.items()}))


if __name__ == "__main__":
    main()
