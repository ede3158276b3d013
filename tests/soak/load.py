"""Steady open-loop traffic of every protocol, from inside a pod; every request has an id of its own and is sent once.

load.py --out FILE --host HOST [--rate R]

Two JSON lines for each request: {"sent": true, "protocol", "id", "t"} and, once it has ended, {"protocol", "id", "t",
"end", "ok", "again" (may it be served twice), "instance", "error"}. Times are CLOCK_MONOTONIC, which nobody sets.
SIGUSR1: sends no more, waits for what is in flight, closes every connection and writes {"quiet": true}. SIGUSR2: goes on.
SIGTERM: the first, and ends.
"""
import argparse
import asyncio
import json
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from support import client as base  # noqa: E402

DEADLINE = 30.0  # seconds; a request that has neither an answer nor an error by then is lost


class Http1(base.Http1):
    async def quiet(self):
        for _, writer in self.idle:
            writer.close()
        self.idle.clear()


class Http2(base.Http2):
    async def quiet(self):
        if self.current:
            self.current["open"] = False
            self.current["w"].close()
            self.current = None


class Grpc(base.Grpc):
    timeout = 2 * DEADLINE  # ours is the one that counts

    def __init__(self, host, port):
        super().__init__(host, port)
        self.where = host, port

    async def send(self, ident, number):
        if self.client is None:
            super().__init__(*self.where)
        return await super().send(ident, number)

    async def quiet(self):
        if self.client is not None:
            await self.channel.close()
            self.client = None


class Lines:
    """A connection each, of raw bytes: three lines, each answered, over a fifth of a second. `greeted`: the server
    speaks first."""

    def __init__(self, host, port, greeted):
        self.host, self.port, self.greeted = host, port, greeted

    async def send(self, ident, number):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            name = "-"
            if self.greeted:
                hello = (await reader.readline()).decode().split()
                if hello[:1] != ["hello"]:
                    raise OSError(f"greeted with {hello!r}")
                name = hello[1]
            for text in (ident, f"{ident}/2", f"{ident}/3"):
                writer.write(f"{text}\n".encode())
                line = (await reader.readline()).decode().strip()
                if line != f"ok {text}":
                    raise OSError(f"answered {line!r} to {text}")
                await asyncio.sleep(0.07)
            return f"{ident} {name}"
        finally:
            writer.close()

    async def quiet(self):
        pass


class Upgrade:
    """HTTP/1.1 upgraded to raw bytes that come back."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    async def send(self, ident, number):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            writer.write(f"GET /up HTTP/1.1\r\nhost: {self.host}\r\nx-id: {ident}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if head.split()[1] != "101":
                why = [x for x in head.split("\r\n") if x.lower().startswith("l5d-proxy-error")]
                raise OSError(f"{head.splitlines()[0]} {''.join(why)}")
            for part in range(3):
                data = f"{ident} {part}\n".encode()
                writer.write(data)
                if (got := await reader.readexactly(len(data))) != data:
                    raise OSError(f"echoed {got!r}")
                await asyncio.sleep(0.07)
            return f"{ident} -"
        finally:
            writer.close()

    async def quiet(self):
        pass


class Load:
    def __init__(self, args, out):
        host, self.out, self.stopped, self.sending, self.tasks = args.host, out, False, asyncio.Event(), set()
        self.sending.set()
        # protocol → (client, requests a second as a share of the rate, is an even-numbered one idempotent)
        self.kinds = {"http1": (Http1(host, 8080), 1.0, True), "h2": (Http2(host, 8081), 1.0, True),
                      "grpc": (Grpc(host, 8082), 0.8, False), "tcp": (Lines(host, 8083, False), 0.4, False),
                      "greet": (Lines(host, 8084, True), 0.2, False), "upgrade": (Upgrade(host, 8080), 0.2, False)}

    def write(self, **record):
        self.out.write(json.dumps(record) + "\n")

    async def one(self, protocol, client, number, again):
        ident, start = f"{protocol}-{number}", time.monotonic()
        self.write(sent=True, protocol=protocol, id=ident, t=start)
        record = {"protocol": protocol, "id": ident, "t": start, "ok": False, "again": again}
        asked = asyncio.ensure_future(client.send(ident, number))
        try:
            # Not asyncio.timeout: what does not end when it is cancelled is lost too.
            await asyncio.wait({asked}, timeout=DEADLINE)
            if not asked.done():
                asked.cancel()
                raise TimeoutError("neither an answer nor an error")
            answer = asked.result()
            got, _, record["instance"] = answer.strip().partition(" ")
            record["ok"] = got == ident
            if not record["ok"]:
                record["error"] = f"answered {answer!r}"
        except Exception as e:  # noqa: BLE001 - whatever it was, the request has ended
            record["error"] = f"{type(e).__name__}: {e}"
        self.write(**record, end=time.monotonic())

    async def send_all(self, protocol, client, rate, gets, offset):
        due, number = time.monotonic() + offset / rate, 0
        while not self.stopped:
            if not self.sending.is_set():
                await self.sending.wait()
                due = time.monotonic() + offset / rate
            await asyncio.sleep(max(0, due - time.monotonic()))
            if not self.sending.is_set() or self.stopped:
                continue
            task = asyncio.create_task(self.one(protocol, client, number, gets and number % 2 == 0))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            number, due = number + 1, due + 1 / rate

    async def quiet(self):
        self.sending.clear()
        await asyncio.sleep(0.05)
        if self.tasks:
            await asyncio.wait(list(self.tasks))
        for client, *_ in self.kinds.values():
            await client.quiet()
        self.write(quiet=True)

    async def run(self, rate):
        loop, ended, aside = asyncio.get_running_loop(), asyncio.Event(), set()
        loop.add_signal_handler(signal.SIGUSR1, lambda: aside.add(asyncio.ensure_future(self.quiet())))
        loop.add_signal_handler(signal.SIGUSR2, self.sending.set)
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        senders = [asyncio.create_task(self.send_all(protocol, client, share * rate, gets, i / len(self.kinds)))
                   for i, (protocol, (client, share, gets)) in enumerate(self.kinds.items())]
        await ended.wait()
        self.stopped = True
        await self.quiet()
        for sender in senders:
            sender.cancel()


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--rate", type=float, default=20)
    args = parser.parse_args()
    with open(args.out, "a", buffering=1, encoding="utf-8") as out:
        await Load(args, out).run(args.rate)


if __name__ == "__main__":
    asyncio.run(main())
