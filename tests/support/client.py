"""Open-loop clients for the four protocols of origin.py; every request has an id of its own and is sent once.

client.py --out FILE --rate R [--http1 HOST:PORT] [--h2 …] [--grpc …] [--tcp …] [--seconds S]

Each given protocol gets R requests a second; half of the HTTP requests are POSTs. One JSON line per finished request:
{"protocol", "id", "ok", "ms", "instance", "error"}. On SIGTERM, or after S seconds, it sends no more, waits for what is
in flight and ends with 0.
"""
import argparse
import asyncio
import json
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "build/python"))
TIMEOUT = 15.0


class Http1:
    """Kept connections; a kept connection on which the peer said `close` is not used again. Nothing is sent twice."""

    def __init__(self, host, port):
        self.host, self.port, self.idle = host, port, []

    async def send(self, ident, number):
        connection = None
        while self.idle and connection is None:
            reader, writer = self.idle.pop()
            if reader.at_eof():
                writer.close()
            else:
                connection = reader, writer
        reader, writer = connection or await asyncio.open_connection(self.host, self.port)
        kept = False
        try:
            head = f"host: {self.host}\r\nx-id: {ident}\r\n"
            body = "b" * 200 if number % 2 else ""
            line = f"POST / HTTP/1.1\r\ncontent-length: {len(body)}\r\n" if number % 2 else "GET / HTTP/1.1\r\n"
            writer.write(f"{line}{head}\r\n{body}".encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:])}
            answer = (await reader.readexactly(int(fields["content-length"]))).decode()
            if fields.get("connection", "").lower() != "close":
                kept = True
                self.idle.append((reader, writer))
            if lines[0].split()[1] != "200":
                raise OSError(f"{lines[0]} {fields.get('l5d-proxy-error', '')}")
            return answer
        finally:
            if not kept:
                writer.close()


class Http2:
    """One connection at a time; a GOAWAY makes a new one for what comes next and lets the old one finish."""

    def __init__(self, host, port):
        self.host, self.port, self.current, self.lock = host, port, None, asyncio.Lock()

    async def connect(self):
        import h2.config
        import h2.connection
        # h2 refuses to go on after GOAWAY, though streams below it may end, and a PING may come with it.
        machine, states, inputs = h2.connection.H2ConnectionStateMachine, h2.connection.ConnectionState, h2.connection.ConnectionInputs
        machine._transitions[states.CLIENT_OPEN, inputs.RECV_GOAWAY] = (None, states.CLIENT_OPEN)
        reader, writer = await asyncio.open_connection(self.host, self.port)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        session = {"c": connection, "w": writer, "streams": {}, "open": True}
        session["task"] = asyncio.create_task(self.read(session, reader))
        return session

    async def read(self, session, reader):
        import h2.events
        error = OSError("connection closed")
        try:
            while data := await reader.read(65536):
                for event in session["c"].receive_data(data):
                    stream = session["streams"].get(getattr(event, "stream_id", None))
                    if isinstance(event, h2.events.ConnectionTerminated):
                        session["open"] = False
                        for ident, other in session["streams"].items():
                            if event.last_stream_id is not None and ident > event.last_stream_id and not other["done"].done():
                                other["done"].set_exception(OSError("refused by GOAWAY"))
                    elif stream is None or stream["done"].done():
                        continue
                    elif isinstance(event, h2.events.ResponseReceived):
                        stream["status"] = dict(event.headers)[":status"]
                        stream["why"] = dict(event.headers).get("l5d-proxy-error", "")
                    elif isinstance(event, h2.events.DataReceived):
                        stream["data"] += event.data
                        session["c"].acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        stream["done"].set_result(None)
                    elif isinstance(event, h2.events.StreamReset):
                        stream["done"].set_exception(OSError(f"reset, code {event.error_code}"))
                session["w"].write(session["c"].data_to_send())
                if not session["open"] and not any(not s["done"].done() for s in session["streams"].values()):
                    break
        except Exception as e:  # noqa: BLE001 - reported on every stream that it ended
            error = e
        session["open"] = False
        for stream in session["streams"].values():
            if not stream["done"].done():
                stream["done"].set_exception(error)
        session["w"].close()

    async def send(self, ident, number):
        async with self.lock:
            if self.current is None or not self.current["open"]:
                self.current = await self.connect()
            session = self.current
        connection = session["c"]
        number_of_stream = connection.get_next_available_stream_id()
        stream = session["streams"][number_of_stream] = {"status": "", "data": b"", "done": asyncio.get_running_loop().create_future()}
        post = number % 2 == 1
        connection.send_headers(number_of_stream, [(":method", "POST" if post else "GET"), (":path", "/"), (":scheme", "http"),
                                                   (":authority", self.host), ("x-id", ident)], end_stream=not post)
        if post:
            connection.send_data(number_of_stream, b"b" * 200, end_stream=True)
        session["w"].write(connection.data_to_send())
        await stream["done"]
        if stream["status"] != "200":
            raise OSError(f"status {stream['status']} {stream['why']}")
        return stream["data"].decode()


class Grpc:
    """Alternately unary calls and streams of five messages that end in time."""
    timeout = TIMEOUT

    def __init__(self, host, port):
        import grpc.aio
        import rates_pb2
        import rates_pb2_grpc
        self.pb = rates_pb2
        options = [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
        self.channel = grpc.aio.insecure_channel(f"{host}:{port}", options=options)
        self.client = rates_pb2_grpc.RatesStub(self.channel)

    async def send(self, ident, number):
        import grpc
        request = self.pb.RateRequest(currency="EUR", count=5, note=ident)
        try:
            if number % 2:
                answers = [a async for a in self.client.History(request, timeout=self.timeout)]
                if len(answers) != 5:
                    raise OSError(f"{len(answers)} of 5 messages")
                answer = answers[0]
            else:
                answer = await self.client.Convert(request, timeout=self.timeout)
        except grpc.RpcError as e:
            raise OSError(f"{e.code().name}: {e.details()}") from None
        return f"{answer.note} {answer.instance}"


class Tcp:
    """A connection each."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    async def send(self, ident, number):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(f"{ident}\n".encode())
            line = (await reader.readline()).decode().strip()
            if line != f"ok {ident}":
                raise OSError(f"answered {line!r}")
            return f"{ident} -"
        finally:
            writer.close()


async def one(protocol, client, number, out):
    ident = f"{protocol}-{number}"
    record = {"protocol": protocol, "id": ident, "ok": False, "t": time.time()}
    start = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await client.send(ident, number)
        got, _, record["instance"] = answer.strip().partition(" ")
        record["ok"] = got == ident
        if not record["ok"]:
            record["error"] = f"answered {answer!r}"
    except (OSError, EOFError, TimeoutError, KeyError, ValueError) as e:
        record["error"] = f"{type(e).__name__}: {e}"
    record["ms"] = round((time.monotonic() - start) * 1000, 2)
    out.write(json.dumps(record) + "\n")


async def run(args):
    clients = {}
    for protocol, make in (("http1", Http1), ("h2", Http2), ("grpc", Grpc), ("tcp", Tcp)):
        if target := getattr(args, protocol):
            host, _, port = target.rpartition(":")
            clients[protocol] = make(host, int(port))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    start, number, tasks = time.monotonic(), 0, set()
    with open(args.out, "a", buffering=1, encoding="utf-8") as out:
        while not stopped.is_set() and not (args.seconds and number / args.rate >= args.seconds):
            wait = start + number / args.rate - time.monotonic()
            if wait > 0:
                try:
                    await asyncio.wait_for(stopped.wait(), wait)
                    break
                except TimeoutError:
                    pass
            for protocol, client in clients.items():
                task = asyncio.create_task(one(protocol, client, number, out))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            number += 1
        if tasks:
            await asyncio.wait(tasks)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for protocol in ("http1", "h2", "grpc", "tcp"):
        parser.add_argument(f"--{protocol}")
    parser.add_argument("--out", required=True)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
