"""The shop's exchange rates: a gRPC server with a unary call and a server stream.

Environment: PORT (50051), HOST (0.0.0.0), NAME (the instance's name).
"""
import os
import pathlib
import signal
import sys
import threading
from concurrent import futures

import grpc

sys.path.insert(0, os.environ.get("SHOP_STUBS", str(pathlib.Path(__file__).resolve().parents[2] / "build/python")))
import rates_pb2 as pb  # noqa: E402
import rates_pb2_grpc as rpc  # noqa: E402

NAME = os.environ.get("NAME", "rates")
RATES = {"EUR": 1.0, "USD": 1.08, "GBP": 0.86, "JPY": 162.5}


class Rates(rpc.RatesServicer):
    def Convert(self, request, context):
        if request.currency not in RATES:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no rate for {request.currency!r}; known: {', '.join(RATES)}")
        return pb.Rate(currency=request.currency, value=RATES[request.currency], note=request.note, instance=NAME)

    def History(self, request, context):
        if not 1 <= request.count <= 100:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"count is {request.count}; accepted: 1 to 100")
        for i in range(request.count):
            value = RATES.get(request.currency, 1.0) * (1 + i / 1000)
            yield pb.Rate(currency=request.currency, value=value, note=request.note, instance=NAME)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    rpc.add_RatesServicer_to_server(Rates(), server)
    address = f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '50051')}"
    if server.add_insecure_port(address) == 0:
        sys.exit(f"rates: cannot listen on {address}")
    server.start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    server.stop(grace=5).wait()


if __name__ == "__main__":
    main()
