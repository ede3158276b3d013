"""A control plane that stands between one pod's proxy and the real one, byte for byte, and can hold answers back, drop
them or change them: what the network or a faulty replica might do.

    with Between(mesh) as between:
        between.change = lambda method, request, message: None if … else message   # None: dropped
        pod = mesh.run("name", […], env=between.env)
"""
import concurrent.futures
import threading

import grpc

from support.control import Workload


class Between(grpc.GenericRpcHandler):
    def __init__(self, mesh):
        probe = Workload(mesh.name, "between", "between")
        real = probe.env["LINKERD2_PROXY_POLICY_SVC_ADDR"]
        probe.close()
        self.channel = grpc.insecure_channel(real, options=[("grpc.enable_http_proxy", 0)])
        self.open = threading.Event()  # while it is not set, calls for which `held` is true wait before they begin
        self.held = lambda method, request: False
        self.change = lambda method, request, message: message
        self.refuse = lambda method: None  # a grpc.StatusCode: the answer
        self.calls = []  # the methods, as they begin
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(200))
        self.server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.env = {"LINKERD2_PROXY_POLICY_SVC_ADDR": self.address, "LINKERD2_PROXY_DESTINATION_SVC_ADDR": self.address}

    def service(self, details):
        method = details.method
        return grpc.unary_stream_rpc_method_handler(lambda request, context: self.forward(method, request, context))

    def forward(self, method, request, context):
        self.calls.append(method)
        if status := self.refuse(method):
            context.abort(status, "refused by the test")
        if self.held(method, request):
            while not self.open.wait(0.05):
                if not context.is_active():
                    return
        stream = self.channel.unary_stream(method)(request)
        context.add_callback(stream.cancel)
        try:
            for message in stream:
                message = self.change(method, request, message)
                if message is not None:
                    yield message
        except grpc.RpcError as e:
            if context.is_active():
                context.abort(e.code(), e.details())

    def lose_one(self, method):
        """The next message of such a call does not arrive; it is in the list that this returns, once it has come."""
        lost = []

        def lose(name, request, message):
            if lost or not name.endswith(method):
                return message
            lost.append(message)
            return None

        self.change = lose
        return lost

    def count(self, method):
        return sum(m.endswith(method) for m in self.calls)

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.open.set()
        self.server.stop(0)
        self.channel.close()
