"""Steady open-loop load on the shop: a request is due at its time whether or not earlier ones have been answered, and
its latency counts from that time, so that a stall is seen by every request that it held up.

Writes one JSON line per finished request; stops on SIGTERM or after --seconds, having waited for what is in flight.
"""
import argparse
import asyncio
import json
import signal
import time

KINDS = ["price"] * 6 + ["order"] * 2 + ["history"] + ["mail"]  # one round of the mix


def request_bytes(kind, number, host, note):
    head = f"x-id: {number}\r\nx-note: {note}\r\nhost: {host}\r\n"
    if kind == "order":
        body = json.dumps({"id": number, "note": note, "fill": "x" * 400})
        return f"POST /order HTTP/1.1\r\n{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    return f"GET /{kind} HTTP/1.1\r\n{head}\r\n".encode()


class Client:
    """HTTP/1.1 over kept connections, as many as are needed at once."""

    def __init__(self, host, port, timeout):
        self.host, self.port, self.timeout = host, port, timeout
        self.idle = []

    async def send(self, data):
        """(status, body, fields) of one exchange; raises OSError, EOFError or TimeoutError."""
        async with asyncio.timeout(self.timeout):
            if self.idle:
                reader, writer = self.idle.pop()
            else:
                reader, writer = await asyncio.open_connection(self.host, self.port)
            kept = False
            try:
                writer.write(data)
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                status = int(lines[0].split()[1])
                body = await reader.readexactly(int(fields["content-length"]))
                if fields.get("connection", "").lower() != "close":
                    self.idle.append((reader, writer))
                    kept = True
                return status, body, fields
            finally:
                if not kept:
                    writer.close()

    def close(self):
        for _, writer in self.idle:
            writer.close()


async def one(client, host, number, kind, due, clock_offset, note, out):
    record = {"id": number, "kind": kind, "t": round(due + clock_offset, 4), "ok": False}
    try:
        status, body, fields = await client.send(request_bytes(kind, number, host, note))
        record["status"] = status
        answer = json.loads(body)
        record["ok"] = status == 200 and answer.get("id") == str(number)
        for name in ("instance", "version", "slow", "slow_window", "edges"):
            if answer.get(name) is not None:
                record[name] = answer[name]
        if "x-upstream-seconds" in fields:  # as nginx saw it
            record.setdefault("edges", {})["api"] = float(fields["x-upstream-seconds"]) * 1000
        if not record["ok"]:
            record["error"] = fields.get("l5d-proxy-error") or answer.get("error", "a wrong answer")
    except (OSError, EOFError, ValueError, KeyError, TimeoutError) as e:
        record["error"] = f"{type(e).__name__}: {e}"
    record["ms"] = round((time.monotonic() - due) * 1000, 3)
    out.write(json.dumps(record) + "\n")


async def run(args):
    host, _, port = args.target.partition(":")
    client = Client(host, int(port or 80), args.timeout)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    start = time.monotonic()
    offset = time.time() - start
    tasks = set()
    number = 0
    with open(args.out, "a", buffering=1, encoding="utf-8") as out:
        while not stopped.is_set():
            due = start + number / args.rate
            if args.seconds and due - start >= args.seconds:
                break
            wait = due - time.monotonic()
            if wait > 0:
                try:
                    await asyncio.wait_for(stopped.wait(), wait)
                    break
                except TimeoutError:
                    pass
            kind = KINDS[number % len(KINDS)]
            task = asyncio.create_task(one(client, host, number, kind, due, offset, args.note, out))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
        if tasks:
            await asyncio.wait(tasks)
    client.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", help="HOST[:PORT] of the shop's entry, such as web")
    parser.add_argument("--rate", type=float, default=80, help="requests a second (default 80)")
    parser.add_argument("--seconds", type=float, default=0, help="stop after this long (default: at SIGTERM)")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for an answer (default 10)")
    parser.add_argument("--note", default="", help="bytes to carry along in every payload")
    parser.add_argument("--out", required=True, help="file that gets one JSON line per request")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
