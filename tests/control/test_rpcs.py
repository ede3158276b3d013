"""Every RPC of the control plane, by a gRPC library that is not ours: what it answers, and that cancelled, idle and
slow-reading clients do it no harm."""
import ipaddress
import pathlib
import queue
import subprocess
import threading
import time

import destination_pb2
import destination_pb2_grpc
import grpc
import identity_pb2
import identity_pb2_grpc
import inbound_pb2
import inbound_pb2_grpc
import net_pb2
import outbound_pb2
import outbound_pb2_grpc
import pytest
import tulle_pb2
import tulle_pb2_grpc
from support.control import Workload

SERVICES = """
    apiVersion: v1
    kind: Service
    metadata: {name: api, namespace: default}
    spec:
      selector: {app: api}
      ports: [{name: http, port: 80, targetPort: http}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: canary, namespace: default}
    spec:
      selector: {app: canary}
      ports: [{name: http, port: 80, targetPort: http}]
"""
ROUTE = """
    apiVersion: gateway.networking.k8s.io/v1
    kind: HTTPRoute
    metadata: {{name: api, namespace: default}}
    spec:
      parentRefs: [{{group: "", kind: Service, name: api, port: 80}}]
      rules:
      - backendRefs: [{{name: api, port: 80, weight: {api}}}, {{name: canary, port: 80, weight: {canary}}}]
"""
SERVER = """
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {{name: api, namespace: default}}
    spec:
      podSelector: {{matchLabels: {{app: api}}}}
      port: http
      proxyProtocol: {protocol}
      accessPolicy: {policy}
"""
API = "api.default.svc.cluster.local:80"


class Watch:
    """A stream whose messages arrive in a queue."""

    def __init__(self, call):
        self.call, self.messages, self.error = call, queue.Queue(), None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for message in self.call:
                self.messages.put(message)
        except grpc.RpcError as e:
            self.error = e
        self.messages.put(None)

    def next(self, seconds=5):
        message = self.messages.get(timeout=seconds)
        if message is None:
            raise AssertionError(f"the stream ended: {self.error}")
        return message

    def until(self, condition, seconds=5):
        """The first message for which it holds."""
        deadline = time.monotonic() + seconds
        while True:
            message = self.next(max(0.01, deadline - time.monotonic()))
            if condition(message):
                return message


@pytest.fixture
def asker(mesh):
    mesh.manifest("services.yaml", SERVICES)
    mesh.up()
    workload = Workload(mesh.name, "asker", "asker")
    yield workload
    workload.close()


def stub(asker, kind):
    return {"destination": lambda c: destination_pb2_grpc.DestinationStub(c), "policy": lambda c: outbound_pb2_grpc.OutboundPoliciesStub(c),
            "inbound": lambda c: inbound_pb2_grpc.InboundServerPoliciesStub(c), "identity": lambda c: identity_pb2_grpc.IdentityStub(c),
            "names": lambda c: tulle_pb2_grpc.NamesStub(c), "bundles": lambda c: tulle_pb2_grpc.TrustBundlesStub(c),
            "digests": lambda c: tulle_pb2_grpc.DigestsStub(c)}[kind](
        asker.channel({"inbound": "policy", "names": "destination", "bundles": "identity", "digests": "destination"}.get(kind, kind)))


def ip_of(address):
    return str(ipaddress.ip_address(address.ip.ipv4))


def get(asker, path=API):
    return Watch(stub(asker, "destination").Get(destination_pb2.GetDestination(scheme="k8s", path=path, context_token=asker.context)))


def test_get_follows_the_instances(mesh, asker):
    watch = get(asker)
    first = watch.next()
    assert first.WhichOneof("update") == "no_endpoints" and first.no_endpoints.exists
    one = Workload(mesh.name, "api", "api-1", {"http": 8080}, {"app": "api"})
    one.ready()
    added = watch.until(lambda m: m.WhichOneof("update") == "add").add
    assert [(ip_of(a.addr), a.addr.port) for a in added.addrs] == [(one.address, 8080)]
    endpoint = added.addrs[0]
    assert endpoint.tls_identity.dns_like_identity.name == one.env["LINKERD2_PROXY_IDENTITY_LOCAL_NAME"]
    assert endpoint.protocol_hint.WhichOneof("protocol") == "h2" and endpoint.weight > 0
    assert endpoint.metric_labels["pod"] == "api-1" and added.metric_labels["service"] == "api"
    two = Workload(mesh.name, "api", "api-2", {"http": 8080}, {"app": "api"})
    two.ready()
    assert ip_of(watch.until(lambda m: m.WhichOneof("update") == "add").add.addrs[0].addr) == two.address
    one.ready(False)
    removed = watch.until(lambda m: m.WhichOneof("update") == "remove").remove
    assert [ip_of(a) for a in removed.addrs] == [one.address]
    two.close()
    last = watch.until(lambda m: m.WhichOneof("update") in ("remove", "no_endpoints"))
    assert last.WhichOneof("update") == "no_endpoints" or ip_of(last.remove.addrs[0]) == two.address
    one.close()


def test_get_of_nothing(asker):
    watch = get(asker, "nothing.default.svc.cluster.local:80")
    assert watch.messages.get(timeout=5) is None and watch.error.code() == grpc.StatusCode.NOT_FOUND, watch.error
    for path in ("", "no port", "api.default.svc.cluster.local:99999", "www.example.org:80"):
        watch = get(asker, path)
        assert watch.messages.get(timeout=5) is None and watch.error.code() == grpc.StatusCode.INVALID_ARGUMENT, f"{path!r}: {watch.error}"


def test_get_profile(asker):
    profile = Watch(stub(asker, "destination").GetProfile(destination_pb2.GetDestination(path=API, context_token=asker.context))).next()
    assert profile.fully_qualified_name == "api.default.svc.cluster.local" and not profile.opaque_protocol
    names = Watch(stub(asker, "names").Watch(tulle_pb2.WatchNamesRequest(workload=asker.policy_token))).next()
    address = next(str(ipaddress.ip_address(n.addresses[0].ipv4)) for n in names.names if n.name == "api.default.svc.cluster.local")
    profile = Watch(stub(asker, "destination").GetProfile(destination_pb2.GetDestination(path=f"{address}:80", context_token=asker.context))).next()
    assert profile.fully_qualified_name == "api.default.svc.cluster.local"


def backends(policy):
    """{service: weight} of the first rule of the HTTP/1 routes."""
    rule = policy.protocol.detect.http1.routes[0].rules[0]
    kind = rule.backends.WhichOneof("kind")
    if kind == "first_available":
        return {rule.backends.first_available.backends[0].backend.metadata.resource.name: 1}
    return {b.backend.backend.metadata.resource.name: b.weight for b in rule.backends.random_available.backends}


def test_outbound_policy_follows_the_route(mesh, asker):
    spec = outbound_pb2.TrafficSpec(source_workload=asker.policy_token, authority=API)
    policies = stub(asker, "policy")
    watch = Watch(policies.Watch(spec))
    assert backends(watch.next()) == {"api": 1}
    mesh.manifest("route.yaml", ROUTE.format(api=3, canary=1))
    changed = time.monotonic()
    assert backends(watch.until(lambda m: len(backends(m)) == 2)) == {"api": 3, "canary": 1}
    assert time.monotonic() - changed < 1
    assert backends(policies.Get(spec, timeout=5)) == {"api": 3, "canary": 1}
    (mesh.manifests / "route.yaml").unlink()
    watch.until(lambda m: backends(m) == {"api": 1})


def spec_of(asker, address, port):
    ip = net_pb2.IPAddress(ipv4=int(ipaddress.ip_address(address)))
    return outbound_pb2.TrafficSpec(source_workload=asker.policy_token, addr=net_pb2.TcpAddress(ip=ip, port=port))


def test_outbound_policy_of_nothing(asker):
    """What is outside of the mesh is forwarded as it is; what would be inside and is not, is not found."""
    outside = stub(asker, "policy").Get(spec_of(asker, "192.0.2.1", 80), timeout=5)
    backend = outside.protocol.detect.opaque.routes[0].rules[0].backends.first_available.backends[0].backend
    assert backend.WhichOneof("kind") == "forward"
    with pytest.raises(grpc.RpcError) as e:
        stub(asker, "policy").Get(spec_of(asker, "127.127.255.254", 80), timeout=5)
    assert e.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as e:
        stub(asker, "policy").Get(outbound_pb2.TrafficSpec(source_workload="", authority="no port at all"), timeout=5)
    assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_inbound_policy_follows_the_server(mesh, asker):
    api = Workload(mesh.name, "api", "api-1", {"http": 8080}, {"app": "api"})
    spec = inbound_pb2.PortSpec(workload=api.policy_token, port=8080)
    watch = Watch(stub(asker, "inbound").WatchPort(spec))
    server = watch.next()
    assert server.protocol.WhichOneof("kind") == "detect" and len(server.authorizations) == 1
    mesh.manifest("server.yaml", SERVER.format(protocol="HTTP/1", policy="deny"))
    server = watch.until(lambda s: s.protocol.WhichOneof("kind") == "http1")
    assert list(server.authorizations) == [] and server.labels["name"] == "api"
    mesh.manifest("server.yaml", SERVER.format(protocol="opaque", policy="all-authenticated"))
    server = watch.until(lambda s: s.protocol.WhichOneof("kind") == "opaque")
    assert server.authorizations[0].authentication.WhichOneof("permit") == "meshTLS"
    assert stub(asker, "inbound").GetPort(spec, timeout=5).protocol.WhichOneof("kind") == "opaque"
    with pytest.raises(grpc.RpcError) as e:
        stub(asker, "inbound").GetPort(inbound_pb2.PortSpec(workload='{"ns":"default","pod":"nobody"}', port=80), timeout=5)
    assert e.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as e:
        stub(asker, "inbound").GetPort(inbound_pb2.PortSpec(workload="", port=0), timeout=5)
    assert e.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    api.close()


def make_csr(folder, name):
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem", "-subj", "/",
                    "-addext", f"subjectAltName=DNS:{name}", "-outform", "DER", "-out", folder / "csr.der"], check=True, capture_output=True)
    return (folder / "csr.der").read_bytes()


def test_certify(asker, tmp_path):
    """A certificate for the own name, and for nobody else's; verified by OpenSSL."""
    name = asker.env["LINKERD2_PROXY_IDENTITY_LOCAL_NAME"]
    token = pathlib.Path(asker.env["LINKERD2_PROXY_IDENTITY_TOKEN_FILE"]).read_bytes()
    identity = stub(asker, "identity")
    csr = make_csr(tmp_path, name)
    answer = identity.Certify(identity_pb2.CertifyRequest(identity=name, token=token, certificate_signing_request=csr), timeout=5)
    (tmp_path / "leaf.der").write_bytes(answer.leaf_certificate)
    (tmp_path / "anchors.pem").write_text(asker.env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"])
    chain = b"".join(subprocess.run(["openssl", "x509", "-inform", "DER"], input=der, check=True, capture_output=True).stdout for der in answer.intermediate_certificates)
    (tmp_path / "chain.pem").write_bytes(chain)
    leaf = subprocess.run(["openssl", "x509", "-inform", "DER", "-in", tmp_path / "leaf.der", "-out", tmp_path / "leaf.pem", "-text"], capture_output=True, text=True)
    subprocess.run(["openssl", "verify", "-CAfile", tmp_path / "anchors.pem", *(["-untrusted", tmp_path / "chain.pem"] if chain else []), tmp_path / "leaf.pem"],
                   check=True, capture_output=True)
    assert f"DNS:{name}" in (tmp_path / "leaf.pem").read_text() + leaf.stdout
    assert 60 < answer.valid_until.seconds - time.time() <= 24 * 3600 + 60
    for wrong, request in {
        "a token that is not one": identity_pb2.CertifyRequest(identity=name, token=b"nonsense", certificate_signing_request=csr),
        "no token": identity_pb2.CertifyRequest(identity=name, certificate_signing_request=csr),
        "another name": identity_pb2.CertifyRequest(identity=name.replace("default", "other", 1), token=token, certificate_signing_request=csr),
        "another name in the request": identity_pb2.CertifyRequest(identity=name, token=token, certificate_signing_request=make_csr(tmp_path, "other." + name)),
        "bytes that are no request": identity_pb2.CertifyRequest(identity=name, token=token, certificate_signing_request=b"\x30\x03\x02\x01\x01"),
    }.items():
        with pytest.raises(grpc.RpcError) as e:
            identity.Certify(request, timeout=5)
        assert e.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED,
                                  grpc.StatusCode.UNAUTHENTICATED), f"{wrong}: {e.value.code()}"


def test_names_and_trust_bundle_and_digests(mesh, asker):
    watch = Watch(stub(asker, "names").Watch(tulle_pb2.WatchNamesRequest(workload=asker.policy_token)))
    table = watch.next()
    assert {"api.default.svc.cluster.local", "canary.default.svc.cluster.local"} <= {n.name for n in table.names} and table.zones
    mesh.manifest("more.yaml", SERVICES.split("---")[0].replace("name: api,", "name: more,"))
    watch.until(lambda t: "more.default.svc.cluster.local" in {n.name for n in t.names})
    bundle = Watch(stub(asker, "bundles").Watch(tulle_pb2.WatchTrustBundleRequest(workload=asker.policy_token))).next()
    assert "BEGIN CERTIFICATE" in bundle.anchors_pem
    held = [tulle_pb2.SetDigest(kind=tulle_pb2.SetDigest.DESTINATION, key=API, digest=12345)]
    answer = stub(asker, "digests").Check(tulle_pb2.CheckDigestsRequest(workload=asker.policy_token, context_token=asker.context, held=held), timeout=5)
    assert list(answer.differ) == [0]


def rss_kb(pid):
    return int(next(x for x in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS")).split()[1])


def test_cancelled_idle_and_slow_clients_do_no_harm(mesh, asker):
    """Hundreds of streams opened and cancelled, and some that never read while what they watch changes 200 times."""
    pid = mesh.control_pid()
    api = Workload(mesh.name, "api", "api-1", {"http": 8080}, {"app": "api"})
    api.ready()
    destination = stub(asker, "destination")
    request = destination_pb2.GetDestination(path=API, context_token=asker.context)
    idle = get(asker)
    idle.next()
    for _ in range(300):
        call = destination.Get(request)
        next(call)
        call.cancel()
    before = rss_kb(pid)
    slow = [destination.Get(request) for _ in range(50)]  # grpcio reads ahead by little: the rest waits on the server
    for _ in range(100):
        api.ready(False)
        api.ready(True)
    assert idle.until(lambda m: m.WhichOneof("update") == "add", 5)
    start = time.monotonic()
    assert get(asker).next().WhichOneof("update") == "add"
    assert time.monotonic() - start < 1, "a new client waits for the slow ones"
    assert rss_kb(pid) - before < 20_000, f"{rss_kb(pid) - before} kB more"
    for call in slow:
        call.cancel()
    api.close()
    assert mesh.answers()
