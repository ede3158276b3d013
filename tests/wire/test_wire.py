"""Our encoding of the control API against Google's Python protobuf, and our .proto files against a list of field
numbers typed by hand from the reference, not from them: a wrong number cannot hide by being wrong on both sides."""
import binascii
import pathlib
import subprocess

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mesh import BIN

ROOT = pathlib.Path(__file__).resolve().parents[2]

# message → "field=number …"; a nested message is Outer.Inner.
FIELDS = {
    "net.IPAddress": "ipv4=1 ipv6=2",
    "net.IPv6": "first=1 last=2",
    "net.IPNetwork": "ip=1 prefix_len=2",
    "net.TcpAddress": "ip=1 port=2",
    "meta.Metadata": "default=1 resource=2",
    "meta.Resource": "group=1 kind=2 name=3 namespace=4 section=5 port=6",
    "http_types.HttpMethod": "registered=1 unregistered=2",
    "http_types.Scheme": "registered=1 unregistered=2",
    "http_types.Headers.Header": "name=1 value=2",
    "http_route.HostMatch": "exact=1 suffix=2",
    "http_route.HostMatch.Suffix": "reverse_labels=1",
    "http_route.HttpRouteMatch": "path=1 headers=2 query_params=3 method=4",
    "http_route.PathMatch": "exact=1 prefix=2 regex=3",
    "http_route.HeaderMatch": "name=1 exact=2 regex=3",
    "http_route.QueryParamMatch": "name=1 exact=2 regex=3",
    "http_route.RequestHeaderModifier": "add=1 set=2 remove=3",
    "http_route.ResponseHeaderModifier": "add=1 set=2 remove=3",
    "http_route.RequestRedirect": "scheme=1 host=2 path=3 port=4 status=5",
    "http_route.PathModifier": "full=1 prefix=2",
    "http_route.HttpFailureInjector": "status=1 message=2 ratio=3",
    "http_route.Ratio": "numerator=1 denominator=2",
    "http_route.Timeouts": "response=1 request=2 idle=3",
    "grpc_route.GrpcRouteMatch": "rpc=1 headers=2",
    "grpc_route.GrpcRpcMatch": "service=1 method=2",
    "grpc_route.GrpcFailureInjector": "code=1 message=2 ratio=3",
    "tls_route.SniMatch": "exact=1 suffix=2",
    "destination.GetDestination": "scheme=1 path=2 context_token=3",
    "destination.Update": "add=1 remove=2 no_endpoints=3",
    "destination.WeightedAddrSet": "addrs=1 metric_labels=2",
    "destination.AddrSet": "addrs=1",
    "destination.NoEndpoints": "exists=1",
    "destination.WeightedAddr": "addr=1 weight=3 metric_labels=4 tls_identity=5 protocol_hint=6 authority_override=7 http2=8 resource_ref=9",
    "destination.TlsIdentity": "dns_like_identity=1 uri_like_identity=3 server_name=4",
    "destination.ProtocolHint": "h2=1 opaque_transport=2 opaque=3",
    "destination.ProtocolHint.OpaqueTransport": "inbound_port=1",
    "destination.Http2ClientParams": "flow_control=1 keep_alive=2 internals=3",
    "destination.DestinationProfile": "routes=1 retry_budget=2 dst_overrides=3 opaque_protocol=4 fully_qualified_name=5 endpoint=6 parent_ref=7 profile_ref=8",
    "destination.Route": "condition=1 response_classes=2 metrics_labels=3 is_retryable=4 timeout=5",
    "destination.RetryBudget": "retry_ratio=1 min_retries_per_second=2 ttl=3",
    "destination.RequestMatch": "all=1 any=2 not=3 path=4 method=5",
    "destination.ResponseMatch": "all=1 any=2 not=3 status=4",
    "destination.WeightedDst": "authority=1 weight=2 backend_ref=3",
    "outbound.TrafficSpec": "source_workload=1 addr=2 authority=3",
    "outbound.OutboundPolicy": "protocol=1 metadata=2",
    "outbound.ProxyProtocol": "detect=1 opaque=2 http1=3 http2=4 grpc=5 tls=6",
    "outbound.ProxyProtocol.Detect": "timeout=1 opaque=2 http1=3 http2=4",
    "outbound.ProxyProtocol.Http1": "routes=1 failure_accrual=2",
    "outbound.ProxyProtocol.Grpc": "routes=1 failure_accrual=2",
    "outbound.HttpRoute": "metadata=1 hosts=2 rules=3",
    "outbound.HttpRoute.Rule": "matches=1 filters=2 backends=3 requestTimeout=4 timeouts=5 retry=6 allow_l5d_request_headers=7",
    "outbound.HttpRoute.Filter": "failure_injector=1 request_header_modifier=2 redirect=3 response_header_modifier=4",
    "outbound.HttpRoute.Distribution": "empty=1 first_available=2 random_available=3",
    "outbound.HttpRoute.RouteBackend": "backend=1 filters=3 requestTimeout=4",
    "outbound.HttpRoute.WeightedRouteBackend": "backend=1 weight=2",
    "outbound.HttpRoute.Retry": "max_retries=1 max_request_bytes=2 conditions=3 timeout=4 backoff=5",
    "outbound.GrpcRoute.Rule": "matches=1 filters=2 backends=3 requestTimeout=4 timeouts=5 retry=6 allow_l5d_request_headers=7",
    "outbound.GrpcRoute.Retry.Conditions": "cancelled=1 deadine_exceeded=4 resource_exhausted=8 internal=13 unavailable=14",
    "outbound.OpaqueRoute": "metadata=1 rules=3",
    "outbound.OpaqueRoute.Rule": "backends=1 filters=2",
    "outbound.OpaqueRoute.Filter": "invalid=1 forbidden=2",
    "outbound.OpaqueRoute.RouteBackend": "backend=1 filters=3",
    "outbound.TlsRoute": "metadata=1 snis=2 rules=3",
    "outbound.Backend": "metadata=1 forward=2 balancer=3 queue=4",
    "outbound.Backend.BalanceP2c": "discovery=1 peak_ewma=2 penalty_peak_ewma=3",
    "outbound.Backend.BalanceP2c.PenaltyPeakEwma": "default_rtt=1 decay=2 penalty=3 max_retry_after=4 penalty_decay=5",
    "outbound.Queue": "capacity=1 failfast_timeout=2",
    "outbound.FailureAccrual": "consecutive_failures=1 unified=2 ejection=3",
    "outbound.FailureAccrual.Unified": "success_rate_threshold=1 decay=2 min_requests=3 max_consecutive_failures=4 backoff=5",
    "outbound.ExponentialBackoff": "min_backoff=1 max_backoff=2 jitter_ratio=3 respect_retry_after_hint=4",
    "inbound.PortSpec": "workload=1 port=2",
    "inbound.Server": "protocol=1 server_ips=2 authorizations=3 labels=4",
    "inbound.ProxyProtocol": "detect=1 opaque=2 tls=3 http1=4 http2=5 grpc=6",
    "inbound.ProxyProtocol.Detect": "timeout=1 http_routes=3 http_local_rate_limit=4",
    "inbound.ProxyProtocol.Http1": "routes=2 local_rate_limit=3",
    "inbound.ProxyProtocol.Grpc": "routes=2",
    "inbound.Authz": "networks=1 authentication=2 labels=3 metadata=4",
    "inbound.Network": "net=1 except=2",
    "inbound.Authn": "unauthenticated=1 meshTLS=2",
    "inbound.Authn.PermitMeshTLS": "unauthenticated=1 identities=2",
    "inbound.IdentitySuffix": "parts=1",
    "inbound.HttpRoute": "metadata=1 hosts=2 authorizations=3 rules=4",
    "inbound.HttpLocalRateLimit": "metadata=1 total=2 identity=3 overrides=4",
    "identity.CertifyRequest": "identity=1 token=2 certificate_signing_request=3",
    "identity.CertifyResponse": "leaf_certificate=1 intermediate_certificates=2 valid_until=3",
    "tap.ObserveRequest": "limit=1 match=2 extract=3",
    "tap.ObserveRequest.Match": "all=1 any=2 not=3 source=4 destination=5 http=6 destination_label=7 route_label=8",
    "tap.ObserveRequest.Match.Http": "scheme=1 authority=2 method=3 path=4",
    "tap.TapEvent": "source=1 destination=2 http=3 destination_meta=4 source_meta=5 proxy_direction=6 route_meta=7",
    "tap.TapEvent.Http": "request_init=1 response_init=2 response_end=3",
    "tap.TapEvent.Http.ResponseEnd": "id=1 since_request_init=2 since_response_init=3 response_bytes=4 eos=5 trailers=6",
    "tap.Eos": "grpc_status_code=1 reset_error_code=2",
}
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "HEAD", "TRACE"]  # in the order of their numbers
RPCS = {
    "destination.Destination": {"Get": ("GetDestination", "Update", True), "GetProfile": ("GetDestination", "DestinationProfile", True)},
    "outbound.OutboundPolicies": {"Get": ("TrafficSpec", "OutboundPolicy", False), "Watch": ("TrafficSpec", "OutboundPolicy", True)},
    "inbound.InboundServerPolicies": {"GetPort": ("PortSpec", "Server", False), "WatchPort": ("PortSpec", "Server", True)},
    "identity.Identity": {"Certify": ("CertifyRequest", "CertifyResponse", False)},
    "tap.Tap": {"Observe": ("ObserveRequest", "TapEvent", True)},
}
@pytest.fixture(scope="module")
def descriptors(tmp_path_factory):
    out = tmp_path_factory.mktemp("proto") / "all.pb"
    protos = sorted(p.name for p in (ROOT / "proto").glob("*.proto"))
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", "--include_imports", f"--descriptor_set_out={out}", *protos], check=True)
    return FileDescriptorSet.FromString(out.read_bytes())


@pytest.fixture(scope="module")
def pool(descriptors):
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    return pool


def new(pool, name):
    return message_factory.MessageFactory(pool).GetPrototype(pool.FindMessageTypeByName(name))()


@pytest.fixture(scope="module")
def samples():
    tool = BIN / "wire_interop"
    if not tool.exists():
        pytest.fail(f"not built: {tool}; run ./dev build", pytrace=False)
    lines = subprocess.run([tool, "samples"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [(name, binascii.unhexlify(text)) for name, text in (line.split(" ") for line in lines)]


@pytest.mark.parametrize("name", FIELDS)
def test_field_numbers(pool, name):
    message = pool.FindMessageTypeByName("io.linkerd.proxy." + name)
    wanted = dict(pair.split("=") for pair in FIELDS[name].split())
    assert {f.name: str(f.number) for f in message.fields} == wanted


def test_enums(pool):
    methods = pool.FindEnumTypeByName("io.linkerd.proxy.http_types.HttpMethod.Registered")
    assert [v.name for v in methods.values] == METHODS and [v.number for v in methods.values] == list(range(9))
    schemes = pool.FindEnumTypeByName("io.linkerd.proxy.http_types.Scheme.Registered")
    assert {v.name: v.number for v in schemes.values} == {"HTTP": 0, "HTTPS": 1}


def test_rpcs(descriptors):
    found = {}
    for file in descriptors.file:
        if file.package.startswith("io.linkerd.proxy."):
            for service in file.service:
                found[file.package.removeprefix("io.linkerd.proxy.") + "." + service.name] = {
                    m.name: (m.input_type.split(".")[-1], m.output_type.split(".")[-1], m.server_streaming) for m in service.method}
    assert found == RPCS


def unknown_fields(message, path=""):
    """Bytes of ours that the other implementation does not understand."""
    out = [path + f".#{f.field_number}" for f in message.UnknownFields()] if hasattr(message, "UnknownFields") else []
    for field, value in message.ListFields():
        if field.type != field.TYPE_MESSAGE or field.message_type.GetOptions().map_entry:
            continue
        for one in value if field.label == field.LABEL_REPEATED else [value]:
            out += unknown_fields(one, f"{path}.{field.name}")
    return out


def fields_set(message, out):
    for field, value in message.ListFields():
        out.add(field.full_name)
        if field.type == field.TYPE_MESSAGE and not field.message_type.GetOptions().map_entry:
            for one in value if field.label == field.LABEL_REPEATED else [value]:
                fields_set(one, out)


def test_they_read_what_we_write(pool, samples):
    for name, data in samples:
        message = new(pool, name)
        message.ParseFromString(data)
        assert unknown_fields(message) == [], name


def test_the_samples_leave_no_field_out(pool, descriptors, samples):
    seen = set()
    for name, data in samples:
        message = new(pool, name)
        message.ParseFromString(data)
        fields_set(message, seen)
    every = set()

    def collect(prefix, messages):
        for m in messages:
            if not m.options.map_entry:
                every.update(f"{prefix}.{m.name}.{f.name}" for f in m.field)
                collect(f"{prefix}.{m.name}", m.nested_type)

    for file in descriptors.file:
        if file.package.startswith(("io.linkerd", "tulle")):
            collect(file.package, file.message_type)
    assert every - seen == set()


def test_we_read_what_they_write(pool, samples):
    """Parsed and written anew by Python, then read and written by us, a message is the same as before."""
    sent = []
    for name, data in samples:
        message = new(pool, name)
        message.ParseFromString(data)
        sent.append((name, message))
    stdin = "".join(f"{name} {binascii.hexlify(message.SerializeToString()).decode()}\n" for name, message in sent)
    out = subprocess.run([BIN / "wire_interop", "again"], input=stdin, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(out) == len(sent)
    for (name, message), line in zip(sent, out):
        assert not line.startswith("error"), f"{name}: {line}"
        back = new(pool, name)
        back.ParseFromString(binascii.unhexlify(line))
        assert back == message, name


def test_errors_name_the_field(pool):
    message = new(pool, "io.linkerd.proxy.inbound.PortSpec")
    message.port = 70000
    line = f"io.linkerd.proxy.inbound.PortSpec {binascii.hexlify(message.SerializeToString()).decode()}\n"
    out = subprocess.run([BIN / "wire_interop", "again"], input=line, check=True, capture_output=True, text=True).stdout
    assert out == "error PortSpec: port: 70000 is not a port from 1 to 65535\n"

