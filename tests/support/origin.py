"""One program that serves four protocols and writes down each id that it was asked to serve: http1, h2 (prior
knowledge), grpc (unary and server streaming), tcp (a line in, a line out) and greet (the same, after a greeting).

origin.py --log FILE [--http1 PORT] [--h2 PORT] [--grpc PORT] [--tcp PORT] [--greet PORT] [--listen ADDRESS]
          [--on-term finish|ignore|exit] [--name NAME]

Each served id is a line `PROTOCOL ID NAME` of FILE, written before the answer leaves. On SIGTERM it finishes what is in
flight (finish), goes on as if nothing had happened (ignore), or is gone at once (exit).
"""
import argparse
import asyncio
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "build/python"))


class Origin:
    def __init__(self, args):
        self.args = args
        self.log_file = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.stopping = False

    def served(self, protocol, ident):
        os.write(self.log_file, f"{protocol} {ident} {self.args.name}\n".encode())  # O_APPEND: whole lines

    async def http1(self, reader, writer):
        """Kept connections; the answer's body says the id, the name, and what came in (`GET /echo` shows the head)."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                method, path, _ = lines[0].split(" ")
                fields = {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:] if x)}
                if fields.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await self.body(reader, fields)
                ident = fields.get("x-id", "-")
                if fields.get("upgrade", "").lower() == "echo":
                    self.served("upgrade", ident)
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
                    while data := await reader.read(65536):
                        writer.write(data)
                        await writer.drain()
                    break
                if "x-wait-ms" in fields:
                    await asyncio.sleep(int(fields["x-wait-ms"]) / 1000)
                self.served("http1", ident)
                if path.startswith("/echo"):
                    data = head.encode("latin-1") + body
                elif path.startswith("/size/"):
                    data = b"x" * int(path.rsplit("/", 1)[1])
                elif path.startswith("/count"):
                    data = str(len(body)).encode()
                else:
                    data = f"{ident} {self.args.name}\n".encode()
                status = "200 OK" if not path.startswith("/status/") else f"{path.rsplit('/', 1)[1]} Because"
                close = self.stopping or fields.get("connection", "").lower() == "close"
                writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n{'connection: close' + chr(13) + chr(10) if close else ''}\r\n".encode())
                if method != "HEAD":
                    writer.write(data)
                await writer.drain()
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def body(reader, fields):
        if fields.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readline()
            while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
                pass
            return body
        return await reader.readexactly(int(fields.get("content-length", "0")))

    async def h2(self, reader, writer):
        import h2.config
        import h2.connection
        import h2.events
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        idents = {}
        try:
            while data := await reader.read(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.RequestReceived):
                        idents[event.stream_id] = dict(event.headers).get("x-id", "-")
                    elif isinstance(event, h2.events.DataReceived):
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamReset):
                        idents.pop(event.stream_id, None)
                    elif isinstance(event, h2.events.StreamEnded) and event.stream_id in idents:
                        ident = idents.pop(event.stream_id)
                        self.served("h2", ident)
                        connection.send_headers(event.stream_id, [(":status", "200")])
                        connection.send_data(event.stream_id, f"{ident} {self.args.name}\n".encode(), end_stream=True)
                writer.write(connection.data_to_send())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def tcp(self, reader, writer, protocol="tcp"):
        try:
            while line := await reader.readline():
                self.served(protocol, line.decode().strip())
                writer.write(b"ok " + line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def greet(self, reader, writer):
        writer.write(f"hello {self.args.name}\n".encode())
        await self.tcp(reader, writer, "greet")

    async def grpc(self, port):
        import grpc.aio
        import rates_pb2
        import rates_pb2_grpc
        origin = self

        class Rates(rates_pb2_grpc.RatesServicer):
            async def Convert(self, request, context):
                origin.served("grpc", request.note)
                return rates_pb2.Rate(note=request.note, instance=origin.args.name)

            async def History(self, request, context):
                origin.served("grpc", request.note)
                for _ in range(request.count):
                    yield rates_pb2.Rate(note=request.note, instance=origin.args.name)
                    await asyncio.sleep(0.01)

        server = grpc.aio.server()
        rates_pb2_grpc.add_RatesServicer_to_server(Rates(), server)
        server.add_insecure_port(f"{self.args.listen}:{port}")
        await server.start()
        return server

    async def run(self):
        args, loop, stopped = self.args, asyncio.get_running_loop(), asyncio.Event()
        if args.on_term == "ignore":
            loop.add_signal_handler(signal.SIGTERM, lambda: None)
        elif args.on_term == "exit":
            loop.add_signal_handler(signal.SIGTERM, lambda: os._exit(0))
        else:
            loop.add_signal_handler(signal.SIGTERM, stopped.set)
        servers = [await asyncio.start_server(handler, args.listen, port, backlog=256)
                   for handler, port in ((self.http1, args.http1), (self.h2, args.h2), (self.tcp, args.tcp), (self.greet, args.greet)) if port]
        grpc_server = await self.grpc(args.grpc) if args.grpc else None
        await stopped.wait()
        self.stopping = True
        for server in servers:
            server.close()
        if grpc_server:
            await grpc_server.stop(5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for protocol in ("http1", "h2", "grpc", "tcp", "greet"):
        parser.add_argument(f"--{protocol}", type=int)
    parser.add_argument("--log", required=True)
    parser.add_argument("--listen", default="0.0.0.0")
    parser.add_argument("--name", default=os.environ.get("NAME", "origin"))
    parser.add_argument("--on-term", choices=["finish", "ignore", "exit"], default="finish")
    asyncio.run(Origin(parser.parse_args()).run())


if __name__ == "__main__":
    main()
