"""Ours and another proxy of the LINKERD2_PROXY_* environment, one at the client and one at the server, under
tulle-control. TULLE_PEER_PROXY names the other; ours takes its part, too, as a sidecar like any other."""
import collections
import http.client
import json
import os
import pathlib
import socket
import time

import pytest
from procs import wait_until
from sidecars import Namespace, Sidecar, SidecarMesh, own
from support.mesh import PYTHON, SUPPORT
from support.talker import MANIFEST, PORTS

PEER = os.environ.get("TULLE_PEER_PROXY")
NO_PEER = "TULLE_PEER_PROXY names no proxy to mesh with"
PAIRS = [pytest.param(("ours", "ours"), id="ours-ours"),
         *(pytest.param(pair, id="-".join(pair), marks=pytest.mark.skipif(not PEER, reason=NO_PEER))
           for pair in (("ours", "theirs"), ("theirs", "ours")))]
PORTS_OF_LOAD = {n: p for n, p in PORTS.items() if n != "opaque"}
RATE = 40

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="sidecars share a network namespace that only root can make")


ROUTES = """
    ---
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {name: rules, namespace: default}
    spec:
      parentRefs: [{group: "", kind: Service, name: origin, port: 8080}]
      rules:
      - matches: [{path: {type: PathPrefix, value: /gone}}]
        filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere, port: 8443, statusCode: 302}}]
      - matches: [{path: {type: PathPrefix, value: /echo/slow}}]
        timeouts: {request: 300ms}
        backendRefs: [{name: origin, port: 8080}]
      - filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-set, value: by-route}], remove: [x-removed]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-added, value: by-route}]}}
        backendRefs: [{name: origin, port: 8080}]
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: web, namespace: default}
    spec: {podSelector: {matchLabels: {app: origin}}, port: http1, proxyProtocol: HTTP/1, accessPolicy: all-authenticated}
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: HTTPRoute
    metadata: {name: open, namespace: default}
    spec:
      parentRefs: [{group: policy.linkerd.io, kind: Server, name: web}]
      rules: [{matches: [{path: {type: PathPrefix, value: /echo}}, {path: {type: PathPrefix, value: /status}}]}]
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: calls, namespace: default}
    spec: {podSelector: {matchLabels: {app: origin}}, port: grpc, proxyProtocol: gRPC, accessPolicy: deny}
"""


class Lab:
    served = PORTS_OF_LOAD  # by the program that writes down what it served

    def __init__(self, mesh, client, server, more=""):
        self.mesh, self.binaries = mesh, (client, server)
        mesh.manifest("origin.yaml", MANIFEST + more)
        mesh.up("--default-inbound-policy", "all-authenticated", "--identity-lifetime", "10s")
        self.address = mesh.ask("get", "service", "origin")["spec"]["clusterIP"]
        self.servers = [self.server("origin-1")]
        self.client = self.sidecar(client, "client", "client", "client")
        self.redirect()
        for sidecar in (self.client, *self.servers):
            sidecar.ready()

    def server(self, name):
        sidecar = self.sidecar(self.binaries[1], "server", "origin", name, PORTS)
        self.programs(name, [PYTHON, SUPPORT / "origin.py", "--log", self.mesh.folder / "origin.ids", "--name", name, "--listen", sidecar.address])
        wait_until(f"{name} listens", lambda: listens(sidecar.address, {**self.served, "opaque": PORTS["opaque"]}), 10)
        return sidecar

    def sidecar(self, *words):
        return Sidecar(self.mesh, *words)

    def programs(self, name, program):
        self.mesh.processes.start(name, [*program, *(w for n, p in self.served.items() for w in (f"--{n}", p))])
        self.mesh.processes.start(f"{name}-opaque", [*program, "--tcp", PORTS["opaque"]])

    def redirect(self):
        Namespace.redirect(self.servers, self.client.outbound)

    def load(self, seconds=0):
        out = self.mesh.folder / "client.jsonl"
        words = [w for n, p in PORTS_OF_LOAD.items() for w in (f"--{n}", f"{self.address}:{p}")]
        return out, self.mesh.processes.start("load", [PYTHON, SUPPORT / "client.py", "--out", out, "--rate", RATE, "--seconds", seconds, *words])


def listens(address, ports):
    """All of the ports; nobody is redirected to its proxy yet."""
    for port in ports.values():
        with socket.socket() as s:
            if s.connect_ex((address, port)) != 0:
                return False
    return True


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def lab(binaries, tmp_path, request):
    name = {"ours": own(), "theirs": pathlib.Path(PEER or "/nonexistent")}
    client, server = request.param
    with Namespace(), SidecarMesh(tmp_path) as mesh:
        yield Lab(mesh, name[client], name[server], getattr(request.function, "manifest", ""))
        mesh.show_logs()


def check(records, per_protocol):
    failed = [r for r in records if not r["ok"]]
    assert not failed, f"{len(failed)} of {len(records)} failed, the first: {failed[:3]}"
    counts = collections.Counter(r["protocol"] for r in records)
    assert set(counts) == set(PORTS_OF_LOAD) and min(counts.values()) >= per_protocol, counts


@pytest.mark.parametrize("lab", PAIRS, indirect=True)
def test_every_protocol_by_mutual_tls(lab):
    out, load = lab.load(seconds=2)
    assert load.wait(40) == 0, load.log()
    check(read(out), 2 * RATE)
    talk_upgraded(lab)
    talk_opaque(lab)
    server, tls = lab.servers[0], 'tls="true"'
    assert server.metric("request_total", 'direction="inbound"', tls) >= 6 * RATE
    assert server.metric("tcp_open_total", 'direction="inbound"', 'peer="src"', tls) >= 1
    admin = f'target_addr="{server.address}:4191"'  # whose requests linkerd2-proxy counts, too: these are not by the mesh
    assert server.metric("request_total", 'direction="inbound"', 'tls="no_identity"', but=admin) == 0
    assert server.metric("inbound_http_errors_total") == 0


def talk_upgraded(lab):
    """A WebSocket, as far as a proxy sees one: upgraded, and from then on bytes both ways."""
    with socket.create_connection((lab.address, PORTS["http1"]), 10) as s:
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: origin\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += s.recv(65536)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        for size in (1, 1000, 200_000):
            s.sendall(b"w" * size)
            came = 0
            while came < size:
                came += len(s.recv(65536))
            assert came == size


def talk_opaque(lab):
    """The policy says opaque: the server's proxy is reached on its direct port, and told the port by a header."""
    for i in range(20):
        with socket.create_connection((lab.address, PORTS["opaque"]), 10) as s:
            s.sendall(f"opaque-{i}\n".encode())
            assert s.makefile().readline() == f"ok opaque-{i}\n"


def ask(lab, path, **headers):
    connection = http.client.HTTPConnection(lab.address, PORTS["http1"], timeout=20)
    connection.request("GET", path, headers={"Host": "origin:8080", "x-id": "asked", **headers})
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode().lower().split("\r\n")


@pytest.mark.parametrize("lab", PAIRS, indirect=True)
def test_routes_and_policies(lab):
    """The same manifests mean the same with either proxy on either side: filters, a timeout, authorization."""
    status, headers, seen = ask(lab, "/echo", **{"x-set": "by-client", "x-removed": "1"})
    assert (status, headers["x-added"]) == (200, "by-route") and "x-set: by-route" in seen and not any(line.startswith("x-removed") for line in seen)
    assert f"l5d-client-id: {lab.client.workload.env['LINKERD2_PROXY_IDENTITY_LOCAL_NAME']}" in seen
    status, headers, _ = ask(lab, "/gone/x")
    assert (status, headers["location"]) == (302, "http://elsewhere:8443/gone/x")
    assert ask(lab, "/echo/slow", **{"x-wait-ms": "3000"})[0] == 504
    assert ask(lab, "/other")[0] == 404
    assert ask(lab, "/status/503")[0] == 503
    out, load = lab.load(1)
    assert load.wait(40) == 0, load.log()
    calls = [r for r in read(out) if r["protocol"] == "grpc"]
    assert len(calls) >= RATE and all("PERMISSION_DENIED" in r["error"] for r in calls), calls[:3]
    server = lab.servers[0]
    assert server.metric("inbound_http_authz_allow_total", 'srv_name="web"', 'route_name="open"', 'tls="true"') > 0
    assert server.metric("inbound_http_authz_deny_total", 'srv_name="calls"', 'tls="true"') >= RATE


test_routes_and_policies.manifest = ROUTES


@pytest.mark.parametrize("lab", PAIRS, indirect=True)
def test_under_changes(lab):
    """Certificates of ten seconds, a second server that comes, the first that goes, a control plane that is killed and
    comes again: each request is answered, and none twice."""
    out, load = lab.load()
    wait_until("requests are answered", lambda: len(read(out)) >= 4 * RATE, 20)
    lab.servers.append(lab.server("origin-2"))
    lab.redirect()
    lab.servers[1].ready()
    wait_until("the second server is used", lambda: any(r.get("instance") == "origin-2" for r in read(out)), 20)
    lab.mesh.kill_control()
    lab.mesh.up_again()
    for sidecar in (lab.client, *lab.servers):
        sidecar.register_again()
    certified = [s.metric("identity_cert_refresh_count") + s.metric("control_identity_cert_refreshes_total", "ok") for s in lab.servers]
    lab.servers[0].workload.ready(False)
    wait_until("the first server is not used any more", lambda: unused_of_late(read(out), "origin-1"), 20)
    wait_until("certificates were renewed", lambda: all(
        s.metric("identity_cert_refresh_count") + s.metric("control_identity_cert_refreshes_total", "ok") > n for s, n in zip(lab.servers, certified)), 30, every=0.2)
    load.signal(15)
    assert load.wait(30) == 0, load.log()
    records = read(out)
    check(records, 3 * RATE)
    served = collections.Counter(tuple(line.split()[:2]) for line in (lab.mesh.folder / "origin.ids").read_text().splitlines())
    assert {(r["protocol"], r["id"]) for r in records} == set(served) and set(served.values()) == {1}


def unused_of_late(records, instance):
    """There were requests in the last second, and none of them was answered by `instance`."""
    recent = [r for r in records if r["t"] > time.time() - 1]
    return len(recent) > 2 * RATE and not any(r.get("instance") == instance for r in recent)
