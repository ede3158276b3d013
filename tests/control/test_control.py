"""tulle-control by itself: what it does with garbage, broken manifests, restarts and its own end."""
import json
import os
import pathlib
import queue
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import destination_pb2
import destination_pb2_grpc
import grpc
import pytest
from mesh import BIN
from support.control import UnixConnection

SERVICE = """apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: http}]}
"""


class Control:
    """One tulle-control with folders of its own."""

    def __init__(self, folder):
        self.folder, self.process = folder, None
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.runtime = pathlib.Path(tempfile.mkdtemp(prefix="tulle-test-", dir="/tmp"))  # a short path, for the socket's sake
        self.socket = str(self.runtime / "control.sock")

    def command(self, *flags):
        return [str(BIN / "tulle-control"), "--state-dir", str(self.folder / "state"), "--manifests", str(self.manifests), "--socket", self.socket, *flags]

    def start(self, *flags, wait=True):
        self.process = subprocess.Popen(self.command(*flags), stdout=open(self.folder / "log", "ab"), stderr=subprocess.STDOUT)
        until(lambda: self.ask("GET", "/v1/mesh"))
        if wait:
            until(self.is_ready)

    def is_ready(self):
        host, port = self.mesh()["admin"].split(":")
        with socket.create_connection((host, int(port)), 5) as s:
            s.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in s.makefile("rb").readline()

    def ask(self, method, path, body=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except OSError:
            return None
        finally:
            connection.close()

    def mesh(self):
        return self.ask("GET", "/v1/mesh")[1]

    def problems(self):
        return [p["text"] for p in self.ask("GET", "/v1/problems")[1]["items"]]

    def services(self):
        return {s["metadata"]["name"]: s["spec"]["clusterIP"] for s in self.ask("GET", "/v1/resources/services")[1]["items"]}

    def register(self, name, **more):
        body = {"name": name, "service": "api", "ports": [{"name": "http", "port": 8080}], "pid": os.getpid(), **more}
        status, answer = self.ask("POST", "/v1/workloads", body)
        assert status == 200, answer
        hold = UnixConnection(self.socket)
        hold.request("GET", f"/v1/workloads/{answer['id']}/hold")
        answer["hold"] = hold
        return answer

    def ready(self, workload, ready=True):
        assert self.ask("POST", f"/v1/workloads/{workload['id']}/ready", {"ready": ready})[0] == 200

    def destination(self):
        channel = grpc.insecure_channel(self.mesh()["grpc"], options=[("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])
        return destination_pb2_grpc.DestinationStub(channel)

    def get(self, path="api.default.svc.cluster.local:80", seconds=10):
        return self.destination().Get(destination_pb2.GetDestination(path=path), timeout=seconds)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.runtime, ignore_errors=True)


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def control(binaries, tmp_path):
    one = Control(tmp_path)
    yield one
    one.stop()
    print((tmp_path / "log").read_text()[-4000:] if (tmp_path / "log").exists() else "")


def write(control, name, text):
    new = control.manifests / (name + ".new")
    new.write_text(text)
    new.rename(control.manifests / name)


def test_a_broken_manifest_keeps_its_last_good_version(control):
    control.start()
    write(control, "a.yaml", SERVICE % "api")
    until(lambda: "api" in control.services(), 1)
    address = control.services()["api"]
    write(control, "a.yaml", (SERVICE % "api").replace("80", "99999"))
    until(lambda: len(control.problems()) == 2, 1)
    assert control.problems()[0] == "a.yaml:4: Service default/api: spec.ports[0].port: found 99999; accepted: a whole number from 1 to 65535"
    assert control.services()["api"] == address
    write(control, "a.yaml", SERVICE % "api2")
    until(lambda: "api2" in control.services(), 1)
    assert control.problems() == [] and "api" not in control.services()
    (control.manifests / "a.yaml").unlink()
    until(lambda: control.services() == {}, 1)


def test_the_folder_may_go_away_and_come_back(control):
    write(control, "a.yaml", SERVICE % "api")
    control.start()
    shutil.rmtree(control.manifests)
    control.manifests.mkdir()
    write(control, "b.yaml", SERVICE % "other")
    until(lambda: list(control.services()) == ["other"], 5)


@pytest.mark.parametrize("words", [
    b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000, b"PRI * HT",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x03\x01\x05\x00\x00\x00\x01abc", None])
def test_garbage_on_the_grpc_port_does_no_harm(control, words):
    control.start()
    host, port = control.mesh()["grpc"].split(":")
    for i in range(20):
        with socket.create_connection((host, int(port)), 5) as s:
            try:
                s.sendall(words if words is not None else random.Random(i).randbytes(10_000))
                s.shutdown(socket.SHUT_WR)
                while s.recv(1000):
                    pass
            except ConnectionError:
                pass
    write(control, "a.yaml", SERVICE % "api")
    until(lambda: "api" in control.services(), 2)
    assert next(control.get()).WhichOneof("update") == "no_endpoints"


def test_garbage_in_grpc_messages_is_refused(control):
    control.start()
    channel = grpc.insecure_channel(control.mesh()["grpc"], options=[("grpc.enable_http_proxy", 0)])
    for path in ("destination.Destination/Get", "destination.Destination/GetProfile", "outbound.OutboundPolicies/Watch", "inbound.InboundServerPolicies/WatchPort"):
        for message in (b"\xff\xff\xff", b"\x0a\xff\x01", random.Random(1).randbytes(1000)):
            with pytest.raises(grpc.RpcError) as e:
                next(channel.unary_stream("/io.linkerd.proxy." + path)(message, timeout=5))
            assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT, path
    with pytest.raises(grpc.RpcError) as e:
        channel.unary_unary("/io.linkerd.proxy.destination.Destination/Nothing")(b"", timeout=5)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_garbage_on_the_socket_does_no_harm(control):
    control.start()
    for data, answer in ((b"\x00" * 100, b""), (b"GET\r\n\r\n", b"HTTP/1.1 400 "), (b"x" * 100_000, b"HTTP/1.1 414 "),
                         (b"POST /v1/workloads HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{{{", b"HTTP/1.1 400 ")):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(control.socket)
            s.settimeout(5)
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            assert s.recv(1000)[:13] == answer, data[:20]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control.socket)
        try:
            s.sendall(b"POST /v1/workloads HTTP/1.1\r\nHost: x\r\nContent-Length: 2097152\r\n\r\n" + b"x" * (2 << 20))
        except BrokenPipeError:
            pass
        assert b" 413 " in s.recv(1000)
    assert control.mesh()["workloads"] == 0


def test_a_restart_is_seen_by_nobody(control):
    """Killed and started again: the same ports, addresses, root and workloads, and no half set in between."""
    write(control, "a.yaml", SERVICE % "api")
    control.start()
    one, two = control.register("api-1"), control.register("api-2")
    control.ready(one), control.ready(two)
    before, services = control.mesh(), control.services()
    first = next(control.get()).add
    assert len(first.addrs) == 2
    control.kill()
    control.start(wait=False)
    assert control.mesh()["grpc"] == before["grpc"] and control.services() == services
    stream = control.get()
    again = control.register("api-1", address=one["address"], ready=True)
    assert again["env"] == one["env"] and again["address"] == one["address"]
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(next(stream)), daemon=True).start()
    with pytest.raises(queue.Empty):
        answers.get(timeout=0.3)  # not half of it
    two_again = control.register("api-2", address=two["address"], ready=True)
    assert sorted(a.addr.ip.ipv4 for a in answers.get(timeout=1).add.addrs) == sorted(a.addr.ip.ipv4 for a in first.addrs)
    assert two_again["address"] == two["address"]


def test_a_restart_forgets_who_died_meanwhile(control):
    write(control, "a.yaml", SERVICE % "api")
    control.start()
    dead = subprocess.Popen(["true"])
    dead.wait()
    one = control.register("api-1")
    two = control.register("api-2", pid=dead.pid)
    control.kill()
    control.start(wait=False)
    began = time.monotonic()
    stream = control.get()
    one, two = control.register("api-1", address=one["address"], ready=True), None
    assert len(next(stream).add.addrs) == 1 and time.monotonic() - began < 1
    control.kill()
    control.start()  # api-1 does not come back, though its process lives: after 1.5 s it is not waited for any more
    assert next(control.get()).WhichOneof("update") == "no_endpoints"


def test_a_workload_ends_with_its_hold(control):
    control.start()
    one = control.register("api-1")
    control.ready(one)
    stream = control.get()
    assert len(next(stream).add.addrs) == 1
    token = pathlib.Path(one["token_path"])
    assert token.stat().st_mode & 0o777 == 0o600
    one["hold"].close()
    assert len(next(stream).remove.addrs) == 1
    until(lambda: control.mesh()["workloads"] == 0 and not token.exists(), 1)


def test_a_large_set_comes_in_messages_that_clients_take(control):
    addresses = [f"10.{i // 65536}.{i // 256 % 256}.{i % 256}" for i in range(10_000)]
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: big}\nspec: {ports: [{port: 80}]}\n"
    for i in range(0, len(addresses), 1000):
        text += (f"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: big-{i}, labels: {{kubernetes.io/service-name: big}}}}\n"
                 "addressType: IPv4\nports: [{port: 80}]\nendpoints:\n" + "".join(f"- addresses: [{a}]\n" for a in addresses[i:i + 1000]))
    write(control, "big.yaml", text)
    control.start()
    seen = set()
    for update in control.get("big.default.svc.cluster.local:80"):
        seen |= {a.addr.ip.ipv4 for a in update.add.addrs}
        if len(seen) == len(addresses):
            break


def test_ends_in_order(control):
    control.start()
    control.register("api-1")
    stream = control.get()
    next(stream)
    began = time.monotonic()
    control.process.send_signal(signal.SIGTERM)
    assert control.process.wait(5) == 0 and time.monotonic() - began < 1
    assert not pathlib.Path(control.socket).exists() and not (control.runtime / "mesh.json").exists()


def test_pods_are_where_the_flag_says(control):
    control.start("--pod-network", "10.64.0.0/16", "--default-inbound-policy", "cluster-authenticated")
    environment = control.register("one")["env"]
    assert environment["LINKERD2_PROXY_INBOUND_LISTEN_ADDR"].startswith("10.64.")
    assert environment["LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS"] == "10.64.0.0/16"
    assert environment["LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS"] == "10.64.0.0/16,127.96.0.0/11"


def test_says_why_it_cannot_start(control):
    def refused(*flags):
        done = subprocess.run(control.command(*flags), capture_output=True, text=True, timeout=10)
        assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1, done.stderr
        return done.stderr
    assert "accepted: all-unauthenticated" in refused("--default-inbound-policy", "everybody")
    assert "--listen" in refused("--listen", "nonsense")
    assert "--nonsense" in refused("--nonsense")
    for network in ("nonsense", "10.0.0.0/33", "0.0.0.0/0", "10.64.0.0/30", "fd00::/16"):
        assert "--pod-network: " in refused("--pod-network", network)
    control.manifests.rmdir()
    assert "--manifests" in refused()
    control.manifests.mkdir()
    control.start()
    assert "control.sock" in refused()
    assert control.mesh()["name"] == "local"
