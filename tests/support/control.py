"""The control plane's two faces, without any of our programs in between: its JSON API on a Unix socket, and its gRPC
API by Debian's grpcio."""
import http.client
import json
import os
import pathlib
import socket

import grpc


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("control", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def socket_of(mesh_name):
    """Where a mesh of this user has its control socket."""
    places = [pathlib.Path(os.environ["XDG_RUNTIME_DIR"]) / "tulle"] if os.environ.get("XDG_RUNTIME_DIR") else []
    for place in [*places, pathlib.Path(f"/tmp/tulle-{os.getuid()}")]:
        if (place / mesh_name / "control.sock").exists():
            return str(place / mesh_name / "control.sock")
    raise AssertionError(f"no control socket of {mesh_name}")


class Workload:
    """A workload that is registered and has no process: the control plane cannot tell, as long as its connection is
    held. `ports`: {name: number}; `served` on the same numbers."""

    def __init__(self, mesh_name, service, name, ports=None, labels=None, address=None):
        self.socket = socket_of(mesh_name)
        body = {"namespace": "default", "name": name, "service": service, "pid": os.getpid(), "labels": labels or {},
                "ports": [{"name": n, "port": p, "served": p} for n, p in (ports or {}).items()]}
        if address:
            body["address"] = address  # that it had
        self.answer = self.call("POST", "/v1/workloads", body)
        self.hold = UnixConnection(self.socket)
        self.hold.request("GET", f"/v1/workloads/{self.answer['id']}/hold")
        self.env = self.answer["env"]
        self.address = self.answer["address"]
        self.policy_token = self.env["LINKERD2_PROXY_POLICY_WORKLOAD"]
        self.context = self.env.get("LINKERD2_PROXY_DESTINATION_CONTEXT", "")

    def call(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        connection.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert response.status < 300, f"{method} {path}: {response.status} {data}"
        return json.loads(data) if data.strip() else {}

    def ready(self, ready=True):
        self.call("POST", f"/v1/workloads/{self.answer['id']}/ready", {"ready": ready})

    def channel(self, kind):
        """A gRPC channel to the destination, policy or identity service, as this workload's proxy would open it."""
        return grpc.insecure_channel(self.env[f"LINKERD2_PROXY_{kind.upper()}_SVC_ADDR"], options=[("grpc.enable_http_proxy", 0)])

    def close(self):
        self.hold.close()
