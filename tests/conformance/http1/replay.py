"""Replays every row against a proxy before recorder.py, and compares what came out at both sides:
replay.py HOST PORT LOG [meshed]. Whole, and samples cut in two, the first read before the second comes, and byte by byte. Runs on the host and
inside a pod; `meshed`: two proxies with mutual TLS and HTTP/2 between, which has no reason phrases, and the second tells
the application who asks. One line for each row that is wrong; the last line counts."""
import json
import pathlib
import random
import re
import socket
import sys

import raw_rows

SECONDS = 10
PASS = "GET /pass HTTP/1.1\r\n"  # Log leaves it out


class Log:
    """What the recorder has written since the last look."""

    def __init__(self, path):
        self.path, self.at = pathlib.Path(path), 0

    def new(self):
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.at)
            lines = [line for line in file.read().splitlines(keepends=True) if line.endswith(b"\n")]
        self.at += sum(map(len, lines))
        return [e for e in map(json.loads, lines) if PASS.encode().hex() not in e["hex"]]


class Replay:
    def __init__(self, host, port, log, meshed):
        self.host, self.port, self.log, self.meshed = host, port, Log(log), meshed
        self.wrong, self.replays = [], 0

    def fail(self, row, what):
        self.wrong.append(f"{row.name}: {what}")

    def connect(self):
        connection = socket.create_connection((self.host, self.port), SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self, connection, pieces):
        try:
            for i, piece in enumerate(pieces):
                if i and len(pieces) == 2:
                    self.passes()
                connection.sendall(piece)
        except OSError:
            pass  # refused before all was sent: the answer may be here all the same

    @staticmethod
    def answers(reader, methods, statuses, tunnel_size=0):
        """The answers, at most as many as are expected: [(status, bytes)]; short if the connection ends before."""
        out = []
        try:
            for _ in statuses:
                head = reader.until(b"\r\n\r\n")
                status = int(head.split(b" ")[1])
                out.append((status, head))
                method = methods[0]
                if status == 101 or (method == "CONNECT" and status // 100 == 2):
                    out[-1] = status, head + reader.take(tunnel_size)
                elif status >= 200:
                    if not (method == "HEAD" or status in (204, 304)):
                        out[-1] = status, head + reader.body(raw_rows.fields_of(head), until_close=True)
                    methods = methods[1:] or methods
        except EOFError:
            out.append((0, b"cut" if out else b"nothing"))
        except TimeoutError:
            out.append((-1, b"too late"))
        return out

    @staticmethod
    def closed(connection, reader, seconds):
        connection.settimeout(seconds)
        try:
            reader.more()
            return False
        except EOFError:
            return True
        except (TimeoutError, BlockingIOError):  # nothing, in time or now
            return False

    def forwarded(self, row, entries):
        """What the application got, without what the proxy adds for itself."""
        seen = b"".join(bytes.fromhex(e["hex"]) for e in entries if e["kind"] != "partial")
        if self.meshed:
            seen, n = re.subn(rb"l5d-client-id: [^\r]*\r\n", b"", seen)
            requests = sum(e["kind"] == "request" for e in entries)
            if n != requests:
                self.fail(row, f"{n} of {requests} requests name the client")
        return self.any_empty_framing(row, seen)

    @staticmethod
    def any_empty_framing(row, data):
        if not row.has("empty"):
            return data
        data = data.removesuffix(b"0\r\n\r\n") if b"transfer-encoding: chunked\r\n" in data else data
        return data.replace(b"transfer-encoding: chunked\r\n", b"").replace(b"content-length: 0\r\n", b"")

    def request(self, row, pieces):
        self.replays += 1
        first = row.sent.lstrip(b"\r\n").split(b" ")[0].decode("latin-1")
        begun = bool(row.seen) or row.has("begun")
        tunneled = row.seen.split(b"\r\n\r\n", 1)[1] if row.has("tunnel") else b""
        with self.connect() as connection:
            reader = raw_rows.Reader(connection)
            self.send(connection, pieces)
            if row.has("eof"):
                connection.shutdown(socket.SHUT_WR)
            got = self.answers(reader, [first], row.statuses, len(tunneled))
            if [status for status, _ in got] != row.statuses:
                self.fail(row, f"answered {[s for s, _ in got]}, wanted {row.statuses}: {got[-1][1][:200]!r}")
            if tunneled and got and not got[-1][1].endswith(tunneled):
                self.fail(row, f"the tunnel gave {got[-1][1]!r}")
            refused = not row.statuses or (row.statuses[-1] >= 400 and not row.has("open"))
            closes = refused or row.has("close")
            if not closes:
                self.passes()
            if self.closed(connection, reader, 5 if closes else 0) != closes:
                self.fail(row, "left open" if closes else f"closed, or more came: {reader.data[:100]!r}")
        if row.has("begun"):  # the end of what was begun comes with the end of the connection
            self.passes()
        entries = self.log.new()
        seen = self.forwarded(row, entries)
        if seen != self.any_empty_framing(row, row.seen):
            self.fail(row, f"the application got {seen[:300]!r}, wanted {row.seen[:300]!r}")
        if not begun and entries:
            self.fail(row, f"reached the application: {entries}")

    ASK = {"GET": "GET / HTTP/1.1\r\n", "GET 1.0": "GET / HTTP/1.0\r\n", "HEAD": "HEAD / HTTP/1.1\r\n", "CONNECT": "CONNECT a:80 HTTP/1.1\r\n",
           "UPGRADE": "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: echo\r\n", "POST": "POST / HTTP/1.1\r\nContent-Length: 100000\r\n"}

    def plain(self, row, data):
        """Without what HTTP/2 does not carry, and what only says that the connection ends."""
        data = self.any_empty_framing(row, data.replace(b"connection: close\r\n", b""))
        return re.sub(rb"(HTTP/1.1 \d{3} )[^\r]*\r", rb"\1\r", data) if self.meshed else data

    def response(self, row):
        self.replays += 1
        host = "a:80" if row.request == "CONNECT" else "a"
        tunneled = row.seen.split(b"\r\n\r\n", 1)[1] if row.statuses[-1] == 101 or (row.request == "CONNECT" and row.statuses == [200]) else b""
        with self.connect() as connection:
            reader = raw_rows.Reader(connection)
            connection.sendall(f"{self.ASK[row.request]}Host: {host}\r\nx-row: {row.name}\r\n\r\n".encode())
            wanted = row.statuses + ([0] if row.has("cut") else [])
            got = self.answers(reader, [row.request.split(" ")[0]], range(20) if row.has("interims") else row.statuses, len(tunneled))
            statuses = [status for status, _ in got]
            if row.has("interims"):
                statuses = [s for s in statuses if s != 100][:1]
            if statuses != wanted:
                self.fail(row, f"answered {statuses}, wanted {wanted}: {got[-1][1][:200]!r}")
            elif row.seen and self.plain(row, b"".join(data for _, data in got)) != self.plain(row, row.seen):
                self.fail(row, f"the client got {b''.join(d for _, d in got)[:300]!r}")
            if row.has("close") and not self.closed(connection, reader, 5):
                self.fail(row, "the client's connection was left open")
        mine = [e for e in self.log.new() if e["kind"] == "request"]
        if not self.probe():
            return self.fail(row, "the next request failed")
        probes = [e for e in self.log.new() if e["kind"] == "request"]
        if len(mine) != (2 if row.has("twice") else 1) or len(probes) != 1:
            return self.fail(row, f"{len(mine)} requests reached the application, and {len(probes)} after it")
        reused = mine[0]["connection"] == probes[0]["connection"]
        drop = row.has("drop") or row.has("cut") or (row.statuses[-1] == 502 and not row.seen)
        if reused == drop:
            self.fail(row, "its connection was used again" if reused else "its connection was not used again")

    def probe(self, line="GET /next HTTP/1.1\r\n"):
        with self.connect() as connection:
            connection.sendall(f"{line}Host: a\r\n\r\n".encode())
            return self.answers(raw_rows.Reader(connection), ["GET"], [200])[0][0] == 200

    def passes(self):
        """An exchange passes through the same proxies: what was sent before it has been read, what it led to has come."""
        assert self.probe(PASS)

    def all(self):
        rng = random.Random(1)
        requests, responses = raw_rows.read("requests.txt"), raw_rows.read("responses.txt")
        for i, row in enumerate(requests):
            self.request(row, [row.sent])
            if i % 3 == 0 and len(row.sent) < 300:
                self.request(row, [row.sent[j:j + 1] for j in range(len(row.sent))])
            if i % 2 == 0 and len(row.sent) > 1:
                at = rng.randrange(1, len(row.sent))
                self.request(row, [row.sent[:at], row.sent[at:]])
        for row in responses:
            self.response(row)
        for line in self.wrong:
            print(line)
        print(f"{len(requests) + len(responses)} rows, {self.replays} replays", flush=True)
        return 1 if self.wrong else 0


if __name__ == "__main__":
    sys.exit(Replay(sys.argv[1], int(sys.argv[2]), sys.argv[3], "meshed" in sys.argv[4:]).all())
