"""What linkerd2-proxy said once (README.md), said again: to our control plane, to the server's side of our proxy, and to
the client's. Needs neither that proxy nor root."""
import functools
import json
import pathlib
import socket
import ssl
import struct
import threading

import destination_pb2
import identity_pb2
import inbound_pb2
import outbound_pb2
import pytest
import rates_pb2
from procs import wait_until
from support.control import Workload
from support.mesh import PYTHON, SUPPORT, Mesh
from support.mesh_tls import ALPN, DIRECT_PORT, Certificate
from support.recording import Piece, Player, heads, load
from support.talker import MANIFEST, PORTS

HERE = pathlib.Path(__file__).resolve().parent
IDENTITY = "default.default.serviceaccount.identity.linkerd.cluster.local"
FQN = "origin.default.svc.cluster.local"
RECORDED_SERVICE = socket.inet_aton("127.96.0.2")


class Lab:
    def __init__(self, folder):
        self.mesh = Mesh(folder)
        self.mesh.manifest("origin.yaml", MANIFEST)
        self.mesh.up("--default-inbound-policy", "all-authenticated")
        self.service = self.mesh.ask("get", "service", "origin")["spec"]["clusterIP"]

    def origin(self):
        """A workload that is registered, and has neither a process nor a proxy: the tests are it."""
        return Workload(self.mesh.name, "origin", "origin-1", PORTS, {"app": "origin"})


@pytest.fixture
def lab(binaries, tmp_path):
    one = Lab(tmp_path)
    with one.mesh:
        yield one


def grpc_messages(data):
    out = []
    while data:
        size, = struct.unpack_from("!I", data, 1)
        out.append(data[5:5 + size])
        data = data[5 + size:]
    return out


# ---- their proxy asks our control plane

class Asker:
    """Plays what `asker`, a workload, asks with what only this mesh can know in place of what the recorded mesh knew: the
    address of the service, the token and the request for a certificate."""

    REQUESTS = {"Get": destination_pb2.GetDestination, "GetProfile": destination_pb2.GetDestination, "Watch": outbound_pb2.TrafficSpec,
                "WatchPort": inbound_pb2.PortSpec, "Certify": identity_pb2.CertifyRequest}
    ANSWERS = {"Get": destination_pb2.Update, "GetProfile": destination_pb2.DestinationProfile, "Watch": outbound_pb2.OutboundPolicy,
               "WatchPort": inbound_pb2.Server, "Certify": identity_pb2.CertifyResponse}

    def __init__(self, lab, asker, kind, recording):
        self.lab, self.asker = lab, asker
        pieces = load(HERE / recording)
        self.rpcs = {stream: head[":path"].rpartition("/")[2] for stream, head in heads(pieces, ">").items()}
        self.asked = {}
        host, port = asker.env[f"LINKERD2_PROXY_{kind}_SVC_ADDR"].split(":")
        with socket.create_connection((host, int(port)), 10) as sock:
            self.said = Player(sock, ">").play([self.here(p) for p in pieces]).said

    def here(self, piece):
        if piece.who != ">" or piece.kind != "DATA" or not piece.payload:
            return piece
        rpc = self.rpcs[piece.stream]
        message = self.asked[piece.stream] = self.REQUESTS[rpc].FromString(piece.payload[5:])
        if rpc == "GetProfile":
            message.path = f"{self.lab.service}:{message.path.partition(':')[2]}"
        elif rpc == "Watch":
            assert message.addr.ip.ipv4.to_bytes(4, "big") == RECORDED_SERVICE
            message.addr.ip.ipv4 = int.from_bytes(socket.inet_aton(self.lab.service), "big")
        elif rpc == "Certify":
            message.token = pathlib.Path(self.asker.env["LINKERD2_PROXY_IDENTITY_TOKEN_FILE"]).read_bytes()
            message.certificate_signing_request = certificate_request(self.lab.mesh.folder)
        data = message.SerializeToString()
        return Piece(">", "DATA", piece.flags, piece.stream, b"\0" + struct.pack("!I", len(data)) + data)

    def answers(self, rpc):
        """(what was asked, the first that was answered) of each call of `rpc`, which are all the same in their frame."""
        out = []
        for stream, asked in self.asked.items():
            if self.rpcs[stream] == rpc:
                said = self.said[stream]
                assert (said.head()[":status"], said.head()["content-type"]) == ("200", "application/grpc") and said.reset is None
                out.append((asked, self.ANSWERS[rpc].FromString(grpc_messages(said.data)[0])))
        assert out, f"{rpc} was not asked for"
        return out


@functools.cache
def certificate_request(folder):
    import subprocess
    return subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem", "-subj", "/",
                           "-addext", f"subjectAltName=DNS:{IDENTITY}", "-outform", "DER"], check=True, capture_output=True).stdout


def test_it_asks_for_a_certificate(lab):
    asker = Asker(lab, Workload(lab.mesh.name, "client", "client"), "IDENTITY", "client-asks-identity.txt")
    (_, answer), = asker.answers("Certify")
    certificates = [ssl.DER_cert_to_PEM_cert(der) for der in (answer.leaf_certificate, *answer.intermediate_certificates)]
    assert len(certificates) >= 2 and answer.valid_until.seconds > 0
    assert asker.said[1].ended and asker.said[1].trailers()["grpc-status"] == "0"


def test_it_asks_for_destinations(lab):
    origin = lab.origin()
    origin.ready()
    asker = Asker(lab, Workload(lab.mesh.name, "client", "client"), "DESTINATION", "client-asks-destination.txt")
    profiles, endpoints = asker.answers("GetProfile"), asker.answers("Get")
    assert {int(asked.path.rpartition(":")[2]): (p.fully_qualified_name, p.opaque_protocol) for asked, p in profiles} == {
        port: (FQN, name == "opaque") for name, port in PORTS.items()}
    assert {asked.path for asked, _ in endpoints} == {f"{FQN}:{port}" for port in PORTS.values()}
    for asked, update in endpoints:
        endpoint, = update.add.addrs
        assert socket.inet_ntoa(endpoint.addr.ip.ipv4.to_bytes(4, "big")) == origin.address
        assert endpoint.addr.port == int(asked.path.rpartition(":")[2]) and endpoint.weight > 0
        assert endpoint.tls_identity.dns_like_identity.name == IDENTITY
        hint = endpoint.protocol_hint
        wanted = "opaque" if asked.path.endswith(":8084") else "h2"
        assert hint.WhichOneof("protocol") == wanted and hint.opaque_transport.inbound_port == DIRECT_PORT


def test_it_asks_for_policies_of_services(lab):
    lab.origin().ready()
    asker = Asker(lab, Workload(lab.mesh.name, "client", "client"), "POLICY", "client-asks-policy.txt")
    kinds = {}
    for asked, policy in asker.answers("Watch"):
        kinds[asked.addr.port] = policy.protocol.WhichOneof("kind")
        assert (policy.metadata.resource.kind, policy.metadata.resource.name, policy.metadata.resource.port) == ("Service", "origin", asked.addr.port)
        if kinds[asked.addr.port] == "detect":
            for http in (policy.protocol.detect.http1, policy.protocol.detect.http2):
                backend = http.routes[0].rules[0].backends.first_available.backends[0].backend
                assert backend.balancer.discovery.dst.path == f"{FQN}:{asked.addr.port}"
    assert kinds == {port: "opaque" if name == "opaque" else "detect" for name, port in PORTS.items()}


def test_it_asks_for_policies_of_its_own_ports(lab):
    asker = Asker(lab, lab.origin(), "POLICY", "server-asks-policy.txt")
    servers = {asked.port: server for asked, server in asker.answers("WatchPort")}
    assert set(servers) == {*PORTS.values(), 4191}
    for name, port in PORTS.items():
        server = servers[port]
        assert server.protocol.WhichOneof("kind") == ("opaque" if name == "opaque" else "detect")
        assert server.authorizations[0].authentication.WhichOneof("permit") == "meshTLS"
        assert server.labels["name" if name == "opaque" else "kind"] == ("opaque" if name == "opaque" else "default")


# ---- their proxy at the client, ours at the server

@pytest.fixture
def server(lab):
    """play(recording): a Player that has said it to our proxy of a pod, over mesh TLS with a transport header."""
    mesh, flags = lab.mesh, [w for name, port in PORTS.items() for w in ("--port", f"{name}={port}")]
    program = [PYTHON, SUPPORT / "origin.py", "--log", mesh.folder / "ids", "--name", "origin-1"]
    numbers = {**PORTS, "greet": PORTS["opaque"]}
    mesh.start_pod("origin-1", "origin", [*program, *(str(w) for n in ("http1", "h2", "grpc", "tcp", "greet") for w in (f"--{n}", numbers[n]))],
                   "--label", "app=origin", *flags)
    mesh.ready("origin-1")
    context = Certificate(Workload(mesh.name, "client", "client"), mesh.folder).client_context()
    context.set_alpn_protocols([ALPN])
    opened = []

    def play(recording):
        plain = socket.create_connection((mesh.address("origin-1"), DIRECT_PORT), 10)
        opened.append(context.wrap_socket(plain, server_hostname=IDENTITY))
        assert opened[-1].selected_alpn_protocol() == ALPN
        return Player(opened[-1], ">").play(load(HERE / recording))
    yield play
    for sock in opened:
        sock.close()


def app_saw(said):
    head, _, body = said.data.decode().partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    return line, dict(f.split(": ", 1) for f in fields), body


def test_its_http1_requests_reach_the_application_as_they_were(server):
    said = server("client-http1.txt").said
    for stream in (1, 3, 5, 7):
        assert (said[stream].head()[":status"], said[stream].head()["l5d-orig-proto"]) == ("200", "HTTP/1.1") and said[stream].ended
    for stream, method, length, body in ((1, "GET", None, ""), (5, "POST", "4", "four"), (7, "POST", None, "onetwo")):
        line, fields, got = app_saw(said[stream])
        assert (line, got) == (f"{method} /echo?q=%2F HTTP/1.1", body)
        assert fields["host"] == "origin:8080" and fields["l5d-client-id"] == IDENTITY and "l5d-orig-proto" not in fields
        assert fields.get("content-length") == length and fields.get("transfer-encoding") == ("chunked" if stream == 7 else None)
    assert said[3].data == b""  # a HEAD


def test_its_upgrade_and_what_is_no_http(server):
    up = server("client-upgrade.txt").hear_until(b"what goes up")
    assert up.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and up.endswith(b"\r\n\r\nwhat goes up")
    assert server("client-tcp.txt").hear_until(b"tcp-0\n") == b"ok tcp-0\n"
    assert server("client-opaque.txt").hear_until(b"opaque-0\n") == b"hello origin-1\nok opaque-0\n"


def test_its_http2_and_grpc(server):
    said = server("client-h2.txt").said
    assert [said[s].head()[":status"] for s in (1, 3)] == ["200", "200"]
    assert [said[s].data for s in (1, 3)] == [b"h2-0 origin-1\n", b"h2-1 origin-1\n"]
    said = server("client-grpc.txt").said
    for stream, note, count in ((1, "grpc-0", 1), (3, "grpc-1", 5)):
        assert said[stream].trailers()["grpc-status"] == "0"
        answers = [rates_pb2.Rate.FromString(m) for m in grpc_messages(said[stream].data)]
        assert [(a.note, a.instance) for a in answers] == [(note, "origin-1")] * count


# ---- our proxy at the client, theirs at the server

class Server:
    """Plays the answers of a recording to the first connection, over mesh TLS, on `port` of `address`; `player` then
    knows what our proxy said. Further connections are closed."""

    def __init__(self, address, port, recording, certificate):
        self.pieces = load(HERE / recording)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate.chain, certificate.key)
        self.context.load_verify_locations(certificate.anchors)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.set_alpn_protocols([ALPN])
        self.listener = socket.create_server((address, port))
        self.player, self.problem = None, None
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            plain, _ = self.listener.accept()
            with plain, self.context.wrap_socket(plain, server_side=True) as client:
                client.settimeout(20)
                self.player = Player(client, "<")
                self.player.play(self.pieces)
                while client.recv(65536):
                    pass
        except (OSError, AssertionError) as e:
            self.problem = e
        finally:
            self.listener.close()


def answered(lab, recordings, *kinds):
    """What talker.py in a pod is told when a server of ours plays `recordings` {port: file}; and the Servers."""
    origin = lab.origin()
    certificate = Certificate(origin, lab.mesh.folder)
    servers = {port: Server(origin.address, port, file, certificate) for port, file in recordings.items()}
    origin.ready()
    wait_until("the origin is an endpoint", lambda: lab.mesh.endpoints("origin", PORTS["http1"]), 10)
    pod = lab.mesh.run("client", [PYTHON, SUPPORT / "talker.py", "origin", *kinds])
    assert pod.wait(60) == 0, f"{pod.log()}\n{ {p: s.problem for p, s in servers.items()} }"
    return json.loads(pod.log().splitlines()[-1]), servers


def test_it_answers_http1(lab):
    told, servers = answered(lab, {8080: "server-http1.txt"}, "http1")
    get, head, post, chunked = told["http1"]
    for answer in (get, head, post, chunked):
        assert answer["status"] == 200 and "l5d-orig-proto" not in answer["headers"]
    assert get["body"].startswith("GET /echo?q=%2F HTTP/1.1\r\n") and post["body"].endswith("\r\n\r\nfour") and chunked["body"].endswith("onetwo")
    assert head["body"] == "" and head["headers"]["content-length"] == "149"
    said = servers[8080].player.said
    assert [said[s].head()["l5d-orig-proto"] for s in (1, 3, 5, 7)] == ["HTTP/1.1"] * 4
    assert [(said[s].head()[":method"], said[s].data) for s in (1, 3, 5, 7)] == [("GET", b""), ("HEAD", b""), ("POST", b"four"), ("POST", b"onetwo")]


def test_it_answers_an_upgrade(lab):
    told, servers = answered(lab, {8080: "server-upgrade.txt"}, "upgrade")
    assert told["upgrade"]["head"].startswith("HTTP/1.1 101 Switching Protocols\r\n") and told["upgrade"]["echo"] == "what goes up"
    assert servers[8080].player.bytes.startswith(b"GET /ws HTTP/1.1\r\n") and b"l5d-orig-proto" not in servers[8080].player.bytes


def test_it_answers_what_is_no_http(lab):
    told, servers = answered(lab, {DIRECT_PORT: "server-opaque.txt"}, "opaque")
    assert told["opaque"] == "ok opaque-0\n" and servers[DIRECT_PORT].player.transport == b"\x08\x94\x3f"


def test_it_answers_http2_and_grpc(lab):
    told, _ = answered(lab, {8081: "server-h2.txt", 8082: "server-grpc.txt"}, "h2", "grpc")
    for kind in ("h2", "grpc"):
        assert [(r["ok"], r["id"], r["instance"]) for r in sorted(told[kind], key=lambda r: r["id"])] == [(True, f"{kind}-{i}", "origin-1") for i in (0, 1)], told


SILENT = """
import http.client, pathlib, sys, time
connection = http.client.HTTPConnection("origin", 8080, timeout=20)
connection.connect()
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
connection.request("GET", "/echo?q=%2F", headers={"Host": "origin:8080"})
print(connection.getresponse().status)
"""


class Refusing(Server):
    """Ends each connection after its transport header, and notes in the file `noted` that it did."""

    def __init__(self, noted, *words):
        self.noted = noted
        super().__init__(*words)

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
                with plain, self.context.wrap_socket(plain, server_side=True) as client:
                    client.settimeout(20)
                    Player(client, "<").play(self.pieces[:1])
                self.noted.touch()
            except (OSError, AssertionError) as e:
                self.problem = e
                return


def test_a_silent_client_is_not_ended_by_a_refusal_of_raw_bytes(lab):
    """Its proxy tries raw bytes for it, in case the server speaks first. Where HTTP is refused, linkerd2-proxy ends such a
    connection without a word; the client, which speaks HTTP in the end, is told by an answer to its request."""
    origin, noted = lab.origin(), lab.mesh.folder / "noted"
    certificate = Certificate(origin, lab.mesh.folder)
    refusing = Refusing(noted, origin.address, DIRECT_PORT, "server-tcp.txt", certificate)
    Server(origin.address, PORTS["http1"], "refusal-http1.txt", certificate)
    origin.ready()
    wait_until("the origin is an endpoint", lambda: lab.mesh.endpoints("origin", PORTS["http1"]), 10)
    pod = lab.mesh.run("client", [PYTHON, "-c", SILENT, noted])
    assert pod.wait(60) == 0 and pod.log().strip().endswith("403"), f"{pod.log()}\n{refusing.problem}"


def test_it_refuses(lab):
    """Not authorized: 403 and PERMISSION_DENIED; no application: 504 for what was asked, and the connection is given up."""
    told, _ = answered(lab, {8080: "refusal-http1.txt", 8081: "refusal-h2.txt", 8082: "refusal-grpc.txt"}, "get", "h2", "grpc")
    assert told["get"]["status"] == 403 and told["get"]["headers"]["l5d-proxy-error"].endswith("unauthorized request on route")
    assert len(told["h2"]) == 2 and all(r["error"].startswith("OSError: status 504 ") and "service in fail-fast" in r["error"] for r in told["h2"]), told["h2"]
    assert len(told["grpc"]) == 2 and all(r["error"].startswith("OSError: PERMISSION_DENIED: ") for r in told["grpc"]), told["grpc"]
