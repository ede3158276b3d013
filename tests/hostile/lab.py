"""What the suite runs in pods and beside them, as one program:

lab.py serve PREFIX           origins: 8080 HTTP/1 for honest clients; 8081 HTTP/2 and 8083 HTTP/1 with small answers, 8082
                              HTTP/2 and 8084 HTTP/1 with large ones; 8085 HTTP/2 that answers all but POSTs after 0.1 s; 8086
                              HTTP/1 that answers when the body has come; 8087 HTTP/2 that answers POSTs only.
                              PREFIX.attacked holds how many requests they took.
lab.py attack ROW HOST PORT AUTHORITY SECONDS
lab.py honest HOST PORT SECONDS RATE
lab.py honest-h2 HOST PORT SECONDS RATE HEAD   POSTs on one HTTP/2 connection, with so many bytes in a field
lab.py head HOST PORT SIZE    the status of a request with so large a head
lab.py agent FOLDER           runs such command lines, one per file of the folder, until it ends
"""
import asyncio
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frames import DATA, END, END_HEADERS, HEADERS, PING, RST, SETTINGS, ACK, WINDOW, Peer, frame, request, settings  # noqa: E402

LARGE = b"x" * 400_000
COUNT = {"requests": 0}


class Http1(asyncio.Protocol):
    def __init__(self, body):
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        self.buffer, self.paused = b"", False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, self.buffer = self.buffer[:end], self.buffer[end + 4:]
            if head.startswith((b"GET", b"POST")):
                COUNT["requests"] += 1
                self.transport.write(self.answer)
        self.buffer = self.buffer[-300_000:]


class Sink(asyncio.Protocol):
    """Answers when all of the body, whose length the head says, has come."""

    def connection_made(self, transport):
        self.transport, self.head, self.left = transport, b"", None

    def data_received(self, data):
        if self.left is None:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            COUNT["requests"] += 1
            self.left = int(self.head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]) - (len(self.head) - end - 4)
        else:
            self.left -= len(data)
        if self.left == 0:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            self.head, self.left = b"", None


class Http2(asyncio.Protocol):
    """Answers each head at once, whatever it says; large answers as the windows allow. `slow`: seconds until it answers all
    but POSTs; None: never."""

    def __init__(self, body, slow=0):
        self.body, self.buffer, self.window, self.peer_window, self.slow = body, b"", 65535, 65535, slow
        self.streams = {}  # id → [window, bytes left]

    def connection_made(self, transport):
        self.transport = transport
        transport.write(settings((4, 1 << 20)) + frame(WINDOW, 0, 0, (1 << 24).to_bytes(4, "big")))
        self.preface = 24

    def data_received(self, data):
        self.buffer += data
        if self.preface:
            if len(self.buffer) < 24:
                return
            self.buffer, self.preface = self.buffer[24:], 0
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
            self.on_frame(kind, flags, stream, self.buffer[9:9 + length])
            self.buffer = self.buffer[9 + length:]
        self.send()

    def on_frame(self, kind, flags, stream, payload):
        if kind == HEADERS:
            COUNT["requests"] += 1
            answer = frame(HEADERS, END_HEADERS | (0 if self.body else END), stream, b"\x88")
            if self.slow != 0 and payload[:1] != b"\x83":  # :method POST, of HPACK's own table
                if self.slow is not None:
                    asyncio.get_running_loop().call_later(self.slow, self.transport.write, answer)
            else:
                self.transport.write(answer)
            if self.body:
                self.streams[stream] = [self.peer_window, len(self.body)]
        elif kind == WINDOW:
            more = int.from_bytes(payload, "big")
            if stream == 0:
                self.window += more
            elif stream in self.streams:
                self.streams[stream][0] += more
        elif kind == SETTINGS and not flags & ACK:
            for i in range(0, len(payload), 6):
                if payload[i:i + 2] == b"\0\4":
                    self.peer_window = int.from_bytes(payload[i + 2:i + 6], "big")
            self.transport.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.transport.write(frame(PING, ACK, 0, payload))
        elif kind == RST:
            self.streams.pop(stream, None)
        elif kind == DATA:
            self.transport.write(frame(WINDOW, 0, 0, len(payload).to_bytes(4, "big")) if payload else b"")

    def send(self):
        for stream, one in list(self.streams.items()):
            n = min(one[0], one[1], self.window)
            one[0], one[1], self.window = one[0] - n, one[1] - n, self.window - n
            while n > 0:
                part = min(n, 16384)
                n -= part
                self.transport.write(frame(DATA, END if one[1] == 0 and n == 0 else 0, stream, LARGE[:part]))
            if one[1] == 0:
                del self.streams[stream]


async def listen(port, make):
    loop = asyncio.get_running_loop()
    return await loop.create_server(make, "0.0.0.0", port, backlog=1000)


async def honest_origin():
    await listen(8080, lambda: Http1(b"ok"))
    await asyncio.Event().wait()


async def attacked_origin(prefix):
    for port, make in ((8081, lambda: Http2(b"")), (8082, lambda: Http2(LARGE)), (8083, lambda: Http1(b"ok")), (8084, lambda: Http1(LARGE)),
                       (8085, lambda: Http2(b"", slow=0.1)), (8086, Sink), (8087, lambda: Http2(b"", slow=None))):
        await listen(port, make)
    path, new = pathlib.Path(f"{prefix}.attacked"), pathlib.Path(f"{prefix}.new")
    while True:
        new.write_text(str(COUNT["requests"]))
        new.rename(path)
        await asyncio.sleep(0.05)


def serve(prefix):
    if os.fork() == 0:
        os.nice(5)
        asyncio.run(attacked_origin(prefix))
    asyncio.run(honest_origin())


# ---- The honest client: requests at a rate, each due at its moment, on kept connections, each tenth on one of its own

async def exchange(reader, writer, host):
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = await reader.readuntil(b"\r\n\r\nok")
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError(answer[:60])


async def honest(host, port, seconds, rate):
    kept, times, errors, tasks = [], [], [], set()

    async def one(due, fresh):
        try:
            async with asyncio.timeout(2):
                pair = kept.pop() if kept and not fresh else await asyncio.open_connection(host, port)
                await exchange(*pair, host)
                times.append(asyncio.get_running_loop().time() - due)
                if fresh:
                    pair[1].close()
                else:
                    kept.append(pair)
        except (OSError, EOFError, TimeoutError) as e:
            errors.append(f"{type(e).__name__}: {e}")

    loop = asyncio.get_running_loop()
    start = loop.time()
    for i in range(int(seconds * rate)):
        due = start + i / rate
        await asyncio.sleep(max(0, due - loop.time()))
        task = loop.create_task(one(due, i % 10 == 0))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    times.sort()
    pick = lambda q: round(1000 * times[min(len(times) - 1, int(q * len(times)))], 2) if times else None  # noqa: E731
    return {"asked": int(seconds * rate), "answered": len(times), "p50": pick(0.5), "p99": pick(0.99), "errors": sorted(set(errors))[:5]}


def honest_h2(host, port, seconds, rate, size=0):
    peer, start, asked = Peer(host, port), time.monotonic(), int(seconds * rate)
    post = request(host, "/", "POST", ("x-large", "y" * size))
    for i in range(asked):
        while (left := start + i / rate - time.monotonic()) > 0:
            peer.wait(left)
        peer.send(frame(HEADERS, END_HEADERS | END, 2 * i + 1, post))
    peer.wait(3, lambda: peer.over() or peer.ended + peer.seen.get(RST, 0) >= asked)
    return {"asked": asked, "answered": peer.ok, "ended": peer.ended, "resets": peer.seen.get(RST, 0), "goaway": peer.goaway}


def attack(row, host, port, authority, seconds, *more):
    from attacks import ATTACKS, Target
    return ATTACKS[row](Target(host, int(port), authority, float(seconds)), *map(int, more))


def large_head(host, port, size):
    """The status of a request whose head has about so many bytes."""
    with socket.create_connection((host, port), 10) as connection:
        fields = "".join(f"x-{i}: {'y' * 4000}\r\n" for i in range(size // 4008))
        connection.sendall(f"GET / HTTP/1.1\r\nHost: victim\r\n{fields}Connection: close\r\n\r\n".encode())
        data = b""
        try:
            while chunk := connection.recv(65536):
                data += chunk
        except OSError:
            pass
    return int(data.split(b" ")[1])


def agent(folder):
    folder, running = pathlib.Path(folder), []
    while True:
        for path in sorted(folder.glob("*.ask")):
            words = json.loads(path.read_text())
            path.unlink()
            out = open(path.with_suffix(".part"), "wb")
            child = subprocess.Popen([sys.executable, "-B", __file__, *words], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            running.append((child, path))
        for child, path in list(running):
            if child.poll() is not None:
                path.with_suffix(".part").rename(path.with_suffix(".done"))
                running.remove((child, path))
        time.sleep(0.02)


def main():
    verb, *words = sys.argv[1:]
    if verb == "serve":
        serve(*words)
    elif verb == "agent":
        agent(*words)
    elif verb == "attack":
        print(json.dumps(attack(*words)))
    elif verb == "honest-h2":
        print(json.dumps(honest_h2(words[0], int(words[1]), float(words[2]), float(words[3]), *map(int, words[4:]))))
    elif verb == "head":
        print(large_head(words[0], int(words[1]), int(words[2])))
    elif verb == "honest":
        print(json.dumps(asyncio.run(honest(words[0], int(words[1]), float(words[2]), float(words[3])))))


if __name__ == "__main__":
    main()
