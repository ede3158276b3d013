"""The shop's API: HTTP/1.1 with keep-alive, over the services `rates` (gRPC), `store` (Redis) and `mail` (IMAP).

It knows nothing of the mesh: it asks for names and gets answers. Every answer is JSON and says which instance gave it.

Environment: PORT (8080), HOST (0.0.0.0), VERSION (v1), NAME (the instance's name), RATES, STORE, MAIL (host:port each),
SHOP_SLOW=PERIOD,DUTY,DELAY_MS: with SHOP_SLOW_START=FILE, this instance answers DELAY_MS later than it could during the
fraction DUTY of every PERIOD seconds, beginning PERIOD/10 after the time at which FILE appeared.
"""
import http.server
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time

import grpc

sys.path.insert(0, os.environ.get("SHOP_STUBS", str(pathlib.Path(__file__).resolve().parents[2] / "build/python")))
import rates_pb2 as pb  # noqa: E402
import rates_pb2_grpc as rpc  # noqa: E402

VERSION = os.environ.get("VERSION", "v1")
NAME = os.environ.get("NAME", "api")
RATES = os.environ.get("RATES", "rates:50051")
STORE = os.environ.get("STORE", "store:6379")
MAIL = os.environ.get("MAIL", "mail:143")
TIMEOUT = 5.0  # seconds, for each thing it asks for


class Slow:
    """Whether this instance is slow on purpose now."""

    def __init__(self, text, start_file):
        self.period, self.duty, self.delay_ms = (float(x) for x in text.split(","))
        self.start_file = start_file
        self.start = None

    def window(self):
        """The current or next slow time as (begin, end) in Unix seconds; None before the schedule begins."""
        if self.start is None:
            try:
                self.start = os.stat(self.start_file).st_mtime
            except OSError:
                return None
        begin = self.start + self.period / 10
        begin += max(0, (time.time() - begin) // self.period) * self.period
        return begin, begin + self.duty * self.period

    def now(self):
        window = self.window()
        return window is not None and window[0] <= time.time() < window[1]


SLOW = Slow(os.environ["SHOP_SLOW"], os.environ.get("SHOP_SLOW_START", "/")) if "SHOP_SLOW" in os.environ else None


def connect(address):
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Store:
    """As much of the Redis protocol (RESP) as the shop needs; one connection a thread."""

    def __init__(self):
        self.local = threading.local()

    def call(self, *words):
        fresh = not getattr(self.local, "file", None)
        try:
            return self.once(words)
        except (OSError, EOFError):
            self.local.file = None
            if fresh:
                raise
            return self.once(words)  # the kept connection had gone away while idle

    def once(self, words):
        if not getattr(self.local, "file", None):
            self.local.file = connect(STORE).makefile("rwb")
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.local.file.write(b"".join(out))
        self.local.file.flush()
        return self.reply()

    def reply(self):
        line = self.local.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("store closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if rest == b"-1":
                return None
            return self.local.file.read(int(rest) + 2)[:-2]
        raise OSError(f"store answered {line!r}")


STORE_CLIENT = Store()
CHANNEL = grpc.insecure_channel(RATES)
RATES_CLIENT = rpc.RatesStub(CHANNEL)


# Each piece of work gets the note to carry along, the request's body, and a dict in which it notes how many
# milliseconds each service took to answer, as seen from here.


def timed(edges, name, call):
    start = time.monotonic()
    answer = call()
    edges[name] = round((time.monotonic() - start) * 1000, 3)
    return answer


def price(note, _body, edges):
    request = pb.RateRequest(currency="USD", note=note)
    rate = timed(edges, "rates", lambda: RATES_CLIENT.Convert(request, timeout=TIMEOUT))
    views = timed(edges, "store", lambda: STORE_CLIENT.call("INCR", "views"))
    return {"price": round(100 * rate.value, 2), "currency": rate.currency, "views": views, "note": rate.note}


def history(note, _body, edges):
    request = pb.RateRequest(currency="GBP", count=10, note=note)
    rates = timed(edges, "rates", lambda: list(RATES_CLIENT.History(request, timeout=TIMEOUT)))
    return {"history": [rate.value for rate in rates]}


def order(note, body, edges):
    timed(edges, "store", lambda: STORE_CLIENT.call("SET", "order:last", body))
    return {"ordered": STORE_CLIENT.call("INCR", "orders"), "bytes": len(body)}


def mail(note, _body, edges):
    """The server of `mail` speaks first: how long until its greeting is here, from the first SYN."""
    start = time.monotonic()
    with connect(MAIL) as connection:
        file = connection.makefile("rwb")
        greeting = file.readline()
        edges["mail"] = round((time.monotonic() - start) * 1000, 3)
        if not greeting.startswith(b"* OK"):
            raise OSError(f"mail greeted with {greeting!r}")
        tag = (note or "a").encode()
        file.write(tag + b" NOOP\r\n" + tag + b" LOGOUT\r\n")
        file.flush()
        answer = file.readline()
        if not answer.startswith(tag + b" OK"):
            raise OSError(f"mail answered {answer!r}")
    return {"greeting": greeting.decode("ascii", "replace").strip()}


PATHS = {("GET", "/price"): price, ("GET", "/history"): history, ("POST", "/order"): order, ("GET", "/mail"): mail}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one write

    def answer(self, status, value):
        value = {"instance": NAME, "version": VERSION, **value}
        data = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def handle_one(self):
        path = self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if path in ("/", "/healthz"):
            return self.answer(200, {"ok": True, "slow": SLOW is not None and SLOW.now(),
                                     "slow_window": SLOW.window() if SLOW else None})
        work = PATHS.get((self.command, path))
        if work is None:
            known = ", ".join(f"{m} {p}" for m, p in PATHS)
            return self.answer(404, {"error": f"no {self.command} {path}; known: {known}"})
        slow = SLOW is not None and SLOW.now()
        if slow:
            time.sleep(SLOW.delay_ms / 1000)
        edges = {}
        try:
            answer = work(self.headers.get("x-note", ""), body, edges)
        except grpc.RpcError as e:
            return self.answer(502, {"error": f"rates: {e.code().name}: {e.details()}"})
        except (OSError, EOFError) as e:
            return self.answer(502, {"error": f"{path}: {e}"})
        answer.update(id=self.headers.get("x-id", ""), edges=edges)
        if SLOW is not None:
            answer["slow"], answer["slow_window"] = slow, SLOW.window()
        return self.answer(200, answer)

    do_GET = do_POST = handle_one

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server((os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.2)


if __name__ == "__main__":
    main()
