"""Makes the recordings of tests/recorded anew, with the proxy that TULLE_PEER_PROXY names: only when TULLE_RECORD says
where to, and TULLE_RECORD_VERSION which version it is. What comes of it: tests/recorded/README.md."""
import json
import os
import pathlib
import subprocess

import identity_pb2
import pytest
import transport_pb2
from recorder import Relay
from sidecars import SPARED, Namespace, Sidecar, SidecarMesh, own
from support.mesh import PYTHON, SUPPORT
from support.mesh_tls import Certificate
from support.recording import Piece, dump
from support.talker import PORTS
from test_sidecars import PEER, PORTS_OF_LOAD, Lab

FOLDER = os.environ.get("TULLE_RECORD")
KINDS = ["http1", "upgrade", "opaque", "h2", "grpc", "tcp"]
NAMES = {number: name for name, number in PORTS.items()}
ABOUT = """{what}
Said by linkerd2-proxy {version}; see README.md."""

pytestmark = pytest.mark.skipif(not (PEER and FOLDER and os.getuid() == 0), reason="recordings are made only with TULLE_PEER_PROXY and TULLE_RECORD, as root")

CLOSED = """
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: %s, namespace: default}
    spec: {podSelector: {matchLabels: {app: origin}}, port: %s, accessPolicy: deny}
"""


class Studio(Lab):
    """A lab where all that a proxy, theirs, says to the control plane and to the other proxy goes through relays."""

    def __init__(self, mesh, client, server, more="", ports=PORTS_OF_LOAD):
        self.recorded, self.served = "client" if str(client) == PEER else "server", ports
        self.control = {}
        super().__init__(mesh, client, server, more)
        self.between = Relay(certificate=Certificate(self.client.workload, mesh.folder))
        address, to = self.servers[0].address, f"dnat to 127.0.0.1:{self.between.port}"
        subprocess.run(["nft", "insert", "rule", "ip", "sidecars", "output", "meta", "skgid", str(SPARED["client"]), "ip", "daddr", address,
                        "tcp", "dport", "{ 4143, 8080-8084 }", *to.split()], check=True)

    def through_relays(self, env):
        for kind in ("DESTINATION", "POLICY", "IDENTITY"):
            host, port = env[f"LINKERD2_PROXY_{kind}_SVC_ADDR"].split(":")
            relay = self.control[kind.lower()] = Relay((host, int(port)))
            env[f"LINKERD2_PROXY_{kind}_SVC_ADDR"] = f"127.0.0.1:{relay.port}"
        return env

    def sidecar(self, binary, side, service, name, ports=None):
        change = self.through_relays if side == self.recorded else None
        return Sidecar(self.mesh, binary, side, service, name, ports, change)

    def talk(self, *kinds):
        done = subprocess.run([PYTHON, SUPPORT / "talker.py", self.address, *kinds], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def write(self, prefix, what, who):
        """A file for each conversation between the proxies that is not like another."""
        version = os.environ["TULLE_RECORD_VERSION"]
        for conversation in self.between.conversations:
            first = conversation.pieces[0] if conversation.pieces else None
            if first is None:
                continue
            port = transport_pb2.Header.FromString(first.payload).port if first.kind == "TRANSPORT" else conversation.target[1]
            kind = NAMES[port] if conversation.http2 or port != PORTS["http1"] else "upgrade"
            path = pathlib.Path(FOLDER) / f"{prefix}-{kind}.txt"
            if not path.exists():
                dump(path, ABOUT.format(what=what.format(kind=kind), version=version), conversation.pieces, who)
        for kind, relay in self.control.items():
            for conversation in relay.conversations[:1]:
                path = pathlib.Path(FOLDER) / f"{prefix}-asks-{kind}.txt"
                dump(path, ABOUT.format(what=f"The {self.recorded}'s proxy asks the control plane: {kind}", version=version), no_secrets(kind, conversation.pieces), ">")


def no_secrets(kind, pieces):
    """Without the token and the request for a certificate, which a replay makes its own of."""
    if kind != "identity":
        return pieces
    out = []
    for piece in pieces:
        if piece.who == ">" and piece.kind == "DATA" and piece.payload:
            message = identity_pb2.CertifyRequest.FromString(piece.payload[5:])
            message.token, message.certificate_signing_request = b"token", b"csr"
            data = message.SerializeToString()
            piece = Piece(">", "DATA", piece.flags, piece.stream, b"\0" + len(data).to_bytes(4, "big") + data)
        out.append(piece)
    return out


@pytest.fixture
def studio(binaries, tmp_path):
    with Namespace(), SidecarMesh(tmp_path) as mesh:
        yield lambda *words, **more: Studio(mesh, *words, **more)
        mesh.show_logs()


def test_their_client(studio):
    lab = studio(pathlib.Path(PEER), own())
    lab.talk(*KINDS)
    lab.write("client", "linkerd2-proxy at the client, our proxy at the server: {kind}", ">")


def test_their_server(studio):
    lab = studio(own(), pathlib.Path(PEER))
    lab.talk(*KINDS)
    lab.write("server", "our proxy at the client, linkerd2-proxy at the server: {kind}", "<")


def test_their_refusals(studio):
    """http1 and gRPC are not allowed, and nobody listens on the port of h2."""
    closed = "".join(CLOSED % (port, port) for port in ("http1", "grpc"))
    lab = studio(own(), pathlib.Path(PEER), closed, ports={n: p for n, p in PORTS_OF_LOAD.items() if n != "h2"})
    print(lab.talk("get", "h2", "grpc"))
    lab.control = {}
    lab.write("refusal", "our proxy at the client, linkerd2-proxy at the server, where http1 and grpc are denied and no application serves h2: {kind}", "<")
