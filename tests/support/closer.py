"""An application that closes each connection a moment after its answer without having said so, and its client.

closer.py serve PORT SECONDS LOG          LOG gets the id of each request that has come
closer.py ask HOST PORT COUNT RATE        POSTs with ids from 0 on, at RATE a second; prints how many got which answer
"""
import collections
import http.client
import json
import random
import socket
import sys
import threading
import time


def serve_one(sock, seconds, log):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got = b""
    while b"\r\n\r\n" not in got or not got.endswith(b"body"):
        data = sock.recv(65536)
        if not data:
            return
        got += data
    log.write(got.split(b" ", 2)[1].decode().removeprefix("/") + "\n")
    sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    time.sleep(seconds)
    sock.close()


def serve(port, seconds, path):
    with open(path, "a", buffering=1, encoding="ascii") as log, socket.create_server(("127.0.0.1", port), backlog=500) as listener:
        while True:
            threading.Thread(target=serve_one, args=(listener.accept()[0], seconds, log), daemon=True).start()


def ask(host, port, count, rate):
    """Over four connections of the client's, which are kept. The first comes alone, and its connection's end is seen;
    the others come at moments that are not regular, some just as a connection ends."""
    start, seen, threads, chance = time.monotonic(), collections.Counter(), 4, random.Random(1)
    moments = [0, *sorted(chance.uniform(0.1, count / rate) for _ in range(count - 1))]

    def some(first):
        client = http.client.HTTPConnection(host, port, timeout=10)
        for i in range(first, count, threads):
            time.sleep(max(0, start + moments[i] - time.monotonic()))
            try:
                client.request("POST", f"/{i}", b"body")
                answer = client.getresponse()
                seen[f"{answer.status} {answer.getheader('l5d-proxy-error') or ''}".strip()] += len(answer.read()) > 0
            except (OSError, http.client.HTTPException) as e:
                seen[repr(e)] += 1
                client.close()
    workers = [threading.Thread(target=some, args=(i,)) for i in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    print(json.dumps(seen))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
    else:
        ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
