"""gRPC by Debian's grpcio, bytes for messages: what the standard interop cases leave out.

grpc_peer.py serve PORT           a server
grpc_peer.py ask HOST:PORT OUT    every case below against it; OUT: {"case": "ok" or what was wrong} as JSON
"""
import concurrent.futures
import hashlib
import json
import pathlib
import sys
import threading
import traceback

import grpc

MIB = 1 << 20
MUCH = bytes(range(256)) * (4 * MIB // 256)  # 4 MiB
BLOCKS = 64  # of 1 MiB each, that a stream carries whose reader stalls
MOST_HELD = 24  # MiB that may be on the way at most while nobody reads: windows, socket buffers, grpcio's own
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.enable_http_proxy", 0)]


class Server(grpc.GenericRpcHandler):
    def __init__(self):
        self.counts = {}  # name → how far something has come
        self.cancelled, self.go = threading.Event(), threading.Event()

    def service(self, details):
        name = details.method.rpartition("/")[2]
        kind = {"Download": grpc.unary_stream_rpc_method_handler, "Drip": grpc.unary_stream_rpc_method_handler,
                "Upload": grpc.stream_unary_rpc_method_handler, "Chat": grpc.stream_stream_rpc_method_handler}
        return kind.get(name, grpc.unary_unary_rpc_method_handler)(getattr(self, name))

    def Echo(self, request, context):
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata([("x-first", sent.get("x-ask", "none"))])
        context.set_trailing_metadata([("x-last", sent.get("x-ask", "none")), ("x-last-bin", sent.get("x-ask-bin", b"none"))])
        return request

    def Refuse(self, request, context):  # trailers only: no message, no initial metadata
        context.set_trailing_metadata([("x-last", "refused")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "grüße, 100 %\n")

    def Download(self, request, context):
        for i in range(BLOCKS):
            self.counts["download"] = i
            yield bytes([i]) * MIB
        self.counts["download"] = BLOCKS

    def Upload(self, requests, context):
        digest = hashlib.sha256(next(requests))
        self.counts["upload"] = 1
        self.go.wait(60)
        for block in requests:
            self.counts["upload"] += 1
            digest.update(block)
        return digest.digest()

    def Chat(self, requests, context):
        for request in requests:
            yield request
            if request == b"abort":
                context.abort(grpc.StatusCode.ABORTED, "in the middle")

    def Drip(self, request, context):
        over = self.end_of(context)
        while not over.wait(0.01):  # so many a second
            yield b"drop"

    def Wait(self, request, context):
        self.counts["left"] = int(1000 * (context.time_remaining() or 0))
        self.end_of(context).wait(60)
        return b""

    def end_of(self, context):
        over = threading.Event()
        context.add_callback(lambda: (over.set(), self.cancelled.set()))
        return over

    def Go(self, request, context):
        self.go.set()
        return b""

    def Count(self, request, context):
        return str(self.counts.get(request.decode(), 0)).encode()

    def WasCancelled(self, request, context):
        was = self.cancelled.wait(5)
        self.cancelled.clear()
        return b"yes" if was else b"no"


def serve(port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(20), options=OPTIONS)
    server.add_generic_rpc_handlers((Server(),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    server.wait_for_termination()


class Client:
    def __init__(self, target):
        self.channel = grpc.insecure_channel(target, options=OPTIONS)

    def call(self, name, request=b"", **how):
        return self.channel.unary_unary(f"/t.T/{name}")(request, timeout=how.pop("timeout", 20), **how)

    def at_rest(self, count):
        """What `count` gives, once it is not 0 and has not moved while much went to and fro on the same connection."""
        seen, now = None, count()
        while not now or now != seen:
            assert self.call("Echo", MUCH) == MUCH
            seen, now = now, count()
        return now

    def metadata_and_trailers(self):
        answer, call = self.channel.unary_unary("/t.T/Echo").with_call(b"x", timeout=20, metadata=[("x-ask", "a b"), ("x-ask-bin", bytes(range(256)))])
        last = dict(call.trailing_metadata())
        assert (answer, call.code(), dict(call.initial_metadata()).get("x-first")) == (b"x", grpc.StatusCode.OK, "a b")
        assert last.get("x-last") == "a b" and last.get("x-last-bin") == bytes(range(256)), last

    def trailers_only(self):
        try:
            self.call("Refuse")
        except grpc.RpcError as e:
            assert (e.code(), e.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "grüße, 100 %\n"), e
            assert dict(e.trailing_metadata()).get("x-last") == "refused", e
        else:
            raise AssertionError("no error")

    def four_mebibytes_unary(self):
        assert self.call("Echo", MUCH) == MUCH

    def four_mebibytes_streamed(self):
        answers = list(self.channel.stream_stream("/t.T/Chat")(iter([MUCH] * 4), timeout=20))
        assert answers == [MUCH] * 4

    def status_in_the_middle(self):
        got = []
        try:
            for answer in self.channel.stream_stream("/t.T/Chat")(iter([b"1", b"abort", b"2"]), timeout=20):
                got.append(answer)
        except grpc.RpcError as e:
            assert (e.code(), e.details(), got) == (grpc.StatusCode.ABORTED, "in the middle", [b"1", b"abort"]), (e, got)
        else:
            raise AssertionError(f"no error; {got}")

    def client_cancels(self):
        call = self.channel.unary_stream("/t.T/Drip")(b"", timeout=20)
        assert next(call) == b"drop"
        call.cancel()
        assert self.call("WasCancelled") == b"yes"

    def deadline(self):
        try:
            self.call("Wait", timeout=0.5)
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
        else:
            raise AssertionError("no error")
        assert self.call("WasCancelled") == b"yes"
        assert 0 < int(self.call("Count", b"left")) <= 500

    def stalled_reader(self):
        """The server is held up, other calls on the connection are not, and in the end nothing is missing."""
        call = self.channel.unary_stream("/t.T/Download")(b"", timeout=60)
        assert next(call) == bytes(MIB)
        held = self.at_rest(lambda: int(self.call("Count", b"download")))
        assert held <= MOST_HELD, f"{held} MiB were sent to a client that read one"
        rest = list(call)
        assert rest == [bytes([i]) * MIB for i in range(1, BLOCKS)]

    def stalled_server(self):
        """The same the other way round."""
        given = 0

        def blocks():
            nonlocal given
            for i in range(BLOCKS):
                given = i
                yield bytes([i]) * MIB
            given = BLOCKS

        call = self.channel.stream_unary("/t.T/Upload").future(blocks(), timeout=60)
        assert self.at_rest(lambda: int(self.call("Count", b"upload"))) == 1
        assert self.at_rest(lambda: given) <= MOST_HELD, f"{given} MiB were taken for a server that read one"
        self.call("Go")
        assert call.result() == hashlib.sha256(b"".join(bytes([i]) * MIB for i in range(BLOCKS))).digest()


CASES = ["metadata_and_trailers", "trailers_only", "four_mebibytes_unary", "four_mebibytes_streamed", "status_in_the_middle", "client_cancels", "deadline",
         "stalled_reader", "stalled_server"]


def ask(target, out):
    client, results = Client(target), {}
    for case in CASES:
        try:
            getattr(client, case)()
            results[case] = "ok"
        except Exception:  # noqa: BLE001 - the test shows it
            results[case] = traceback.format_exc()[-1500:]
    pathlib.Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "serve" else ask(sys.argv[2], sys.argv[3])
