"""Mutual TLS between proxies, as anybody might try it: certificates of every wrong shape against both sides of ours,
handshakes that are cut, broken up, too big or of another version. OpenSSL is the other side."""
import re
import socket
import ssl
import subprocess
import threading
import urllib.request

import pytest
from procs import wait_until
from support.control import Workload
from support.forge import HOUR, Issuer, other_ber_names, state_of
from support.mesh import PYTHON
from support.mesh_tls import ALPN, DIRECT_PORT, PREFACE

TOOL = "mesh TLS"
DOMAIN = "default.serviceaccount.identity.linkerd.cluster.local"
SERVER = f"default.{DOMAIN}"  # what the pods here are
APPLICATION = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = self.headers.get("l5d-client-id", "nobody").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
POLICY = """
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: guarded, namespace: default}
    spec: {podSelector: {matchLabels: {app: guarded}}, port: http, accessPolicy: all-authenticated}
"""


STRICT = """
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {{name: strict, namespace: default}}
    spec: {{podSelector: {{matchLabels: {{app: strict}}}}, port: http, accessPolicy: {policy}}}
"""


class Lab:
    """Two pods, `open` to everybody and `guarded`, and an issuer of what they are shown."""

    def __init__(self, mesh, folder):
        self.mesh = mesh
        mesh.manifest("policy.yaml", POLICY)
        mesh.up("--default-inbound-policy", "all-unauthenticated")
        for name in ("open", "guarded"):
            mesh.run(name, [PYTHON, "-c", APPLICATION], "--label", f"app={name}", "--port", "http=8080")
        for name in ("open", "guarded"):
            mesh.ready(name)
        self.issuer = Issuer.of_mesh(mesh, folder)
        self.stranger = Issuer.stranger(folder, "root.linkerd.cluster.local")
        self.root = state_of(mesh.name) / "root.crt"

    def client(self, shown=None, version=ssl.TLSVersion.TLSv1_3, alpn=None):
        context = ssl.create_default_context(cafile=str(self.root))
        context.minimum_version = min(ssl.TLSVersion.TLSv1_2, version)
        context.maximum_version = version
        if alpn:
            context.set_alpn_protocols([alpn])
        if shown:
            context.load_cert_chain(shown.chain, shown.key)
        return context

    def ask(self, pod, context, direct=False):
        """The status and body that a client gets, or "refused"."""
        first = b""
        if direct:
            import transport_pb2
            header = transport_pb2.Header(port=8080)
            header.session_protocol.http1.SetInParent()
            payload = header.SerializeToString()
            first = PREFACE + len(payload).to_bytes(4, "big") + payload
        try:
            with socket.create_connection((self.mesh.address(pod), DIRECT_PORT if direct else 8080), 10) as plain, \
                    context.wrap_socket(plain, server_hostname=SERVER) as up:
                up.sendall(first + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = read_all(up)
        except OSError:  # ssl.SSLError is one
            return "refused"
        head, _, body = answer.partition(b"\r\n\r\n")
        return f"{head.split()[1].decode()} {body.decode()}".strip() if head else "refused"


def read_all(stream):
    answer = b""
    while piece := stream.recv(65536):
        answer += piece
    return answer


@pytest.fixture(scope="module")
def lab(binaries, tmp_path_factory):
    from support.mesh import Mesh
    folder = tmp_path_factory.mktemp("forged")
    with Mesh(tmp_path_factory.mktemp("tls")) as mesh:
        yield Lab(mesh, folder)


OK, NOBODY, DENIED, NO = f"200 web.{DOMAIN}", "200 nobody", "403", "refused"
WEB = f"DNS:web.{DOMAIN}"

# What a client shows → what it gets from the open port, the guarded one, and the direct port.
CLIENTS = {
    "its certificate": (lambda lab: lab.issuer.issue(WEB), OK, OK, OK),
    "nothing": (lambda lab: None, NOBODY, DENIED, NO),
    "one of another mesh": (lambda lab: lab.stranger.issue(WEB), NO, NO, NO),
    "an expired one": (lambda lab: lab.issuer.issue(WEB, -2 * HOUR, -60), NO, NO, NO),
    "one that is not valid yet": (lambda lab: lab.issuer.issue(WEB, HOUR, 2 * HOUR), NO, NO, NO),
    "one for servers only": (lambda lab: lab.issuer.issue(WEB, extended="serverAuth"), NO, NO, NO),
    "one for mail": (lambda lab: lab.issuer.issue(WEB, extended="emailProtection"), NO, NO, NO),
    "a CA's": (lambda lab: lab.issuer.issue(WEB, is_ca=True), NO, NO, NO),
    "one signed by a leaf": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}").as_issuer().issue(WEB), NO, NO, NO),
    "a name with a NUL": (lambda lab: lab.issuer.issue(other_ber_names(f"web.{DOMAIN}\0.evil".encode())), NOBODY, DENIED, NO),
    "a wildcard": (lambda lab: lab.issuer.issue(f"DNS:*.{DOMAIN}"), NOBODY, DENIED, NO),
    "two names": (lambda lab: lab.issuer.issue(f"{WEB},DNS:api.{DOMAIN}"), OK, OK, OK),
    "no name": (lambda lab: lab.issuer.issue(None), NOBODY, DENIED, NO),
}


@pytest.mark.parametrize("shown", CLIENTS)
def test_a_client_shows(lab, shown):
    make, *wanted = CLIENTS[shown]
    certificate = make(lab)
    context = lab.client(certificate)
    got = [lab.ask("open", context), lab.ask("guarded", context), lab.ask("open", lab.client(certificate, alpn=ALPN), direct=True)]
    assert got == wanted


def test_old_versions_are_refused(lab):
    assert lab.ask("open", lab.client(lab.issuer.issue(WEB), ssl.TLSVersion.TLSv1_2)) == NO


def test_nobody_renegotiates(lab):
    """RFC 8446 §4.1.2: TLS 1.3 has no second ClientHello; whoever sends one is sent away, and gets no answer."""
    context = lab.client(lab.issuer.issue(WEB))
    tls, incoming, outgoing = client_hello(context)
    hello = outgoing.read()
    with socket.create_connection((lab.mesh.address("open"), 8080), 10) as plain:
        plain.sendall(hello)
        shake_hands(tls, plain, incoming)
        tls.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.sendall(outgoing.read())
        incoming.write(plain.recv(65536))
        plain.sendall(client_hello(context)[2].read())
        tls.write(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
        plain.sendall(outgoing.read())
        try:
            while piece := plain.recv(65536):
                incoming.write(piece)
        except ConnectionResetError:  # ended before it had read all that was sent
            pass
    text = b""
    with pytest.raises(ssl.SSLError):  # the alert, or nothing more
        while True:
            text += tls.read(65536)
    assert text.count(b"HTTP/1.1 200 ") == 1


def handshakes(lab, pod, kind):
    """How many connections to a pod had a handshake of that kind."""
    with urllib.request.urlopen(f"http://{lab.mesh.address(pod)}:4191/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return int(re.search(rf'^tulle_tls_handshakes_total{{direction="inbound",kind="{kind}"}} (\d+)', text, re.MULTILINE)[1])


class Visitor:
    """A client that keeps the session of its last connection, whatever it shows next."""

    def __init__(self, lab, shown):
        self.lab, self.context, self.session = lab, lab.client(shown), None

    def ask(self, pod, fresh=False):
        """What lab.ask() says, and whether the session was resumed."""
        try:
            with socket.create_connection((self.lab.mesh.address(pod), 8080), 10) as plain, \
                    self.context.wrap_socket(plain, server_hostname=SERVER, session=None if fresh else self.session) as up:
                up.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = read_all(up)
                self.session = up.session
                head, _, body = answer.partition(b"\r\n\r\n")
                return f"{head.split()[1].decode()} {body.decode()}".strip() if head else NO, up.session_reused
        except OSError:
            return NO, False

    def show(self, shown):
        self.context.load_cert_chain(shown.chain, shown.key)


def test_a_resumed_session_has_the_name_of_its_full_handshake(lab):
    before = [handshakes(lab, "guarded", kind) for kind in ("full", "resumed")]
    web, nobody = Visitor(lab, lab.issuer.issue(WEB)), Visitor(lab, None)
    assert [web.ask("guarded") for _ in range(3)] == [(OK, False), (OK, True), (OK, True)]
    assert [nobody.ask("guarded")[0] for _ in range(2)] == [DENIED, DENIED]
    after = [handshakes(lab, "guarded", kind) for kind in ("full", "resumed")]
    assert after == [before[0] + 2, before[1] + 3]


def test_a_session_never_lends_a_name(lab):
    """Somebody has the session of `web` and the certificate of `api`: who resumes is web, who does not is api."""
    visitor = Visitor(lab, lab.issuer.issue(WEB))
    assert visitor.ask("open") == (OK, False)
    visitor.show(lab.issuer.issue(f"DNS:api.{DOMAIN}"))
    assert visitor.ask("open") == (OK, True)
    assert visitor.ask("open", fresh=True) == (f"200 api.{DOMAIN}", False)
    assert visitor.ask("open") == (f"200 api.{DOMAIN}", True)


def test_a_session_is_for_one_pod(lab):
    """Another pod of the same workload has other keys: a full handshake, and the name of who comes."""
    visitor = Visitor(lab, lab.issuer.issue(WEB))
    assert visitor.ask("open") == (OK, False)
    assert visitor.ask("guarded") == (OK, False)


def test_a_ticket_alone_is_nothing(lab, tmp_path):
    """It goes over the wire in the clear. Who shows it so that it cannot be resumed, and no certificate, is nobody."""
    def connect(*words):
        done = subprocess.run(["openssl", "s_client", "-quiet", "-ign_eof", "-connect", f"{lab.mesh.address('open')}:8080", "-servername", SERVER,
                               "-CAfile", lab.root, *words], input=b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", capture_output=True, timeout=20)
        return done.stdout.rpartition(b"\r\n\r\n")[2].decode()
    shown = lab.issuer.issue(WEB)
    assert connect("-cert", shown.certificate, "-cert_chain", shown.chain, "-key", shown.key, "-sess_out", tmp_path / "session") == f"web.{DOMAIN}"
    assert connect("-sess_in", tmp_path / "session") == f"web.{DOMAIN}"  # with its secret
    assert connect("-sess_in", tmp_path / "session", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256") == "nobody"


def test_a_session_ends_with_the_certificate_of_the_client(lab):
    visitor = Visitor(lab, lab.issuer.issue(WEB, end=5))
    assert visitor.ask("open") == (OK, False)
    answers = []
    wait_until("the certificate has expired", lambda: answers.append(visitor.ask("open")) or answers[-1][0] == NO, 15, every=0.2)
    assert answers[0] == (OK, True) and {answer for answer, _ in answers[:-1]} == {OK}  # openssl drops it a second before
    visitor.show(lab.issuer.issue(WEB))
    assert visitor.ask("open") == (OK, False)


def test_policy_judges_the_name_of_a_session_anew(lab):
    """Each connection is authorized by the policy of now, as the one that the session is of."""
    def policy(word):
        lab.mesh.manifest("strict.yaml", STRICT.format(policy=word))
    policy("all-authenticated")
    lab.mesh.run("strict", [PYTHON, "-c", APPLICATION], "--label", "app=strict", "--port", "http=8080")
    lab.mesh.ready("strict")
    web, nobody = Visitor(lab, lab.issuer.issue(WEB)), Visitor(lab, None)
    for resumed in (False, True):
        assert web.ask("strict") == (OK, resumed)
        assert nobody.ask("strict") == (DENIED, resumed)
    policy("all-unauthenticated")
    wait_until("everybody may ask", lambda: nobody.ask("strict") == (NOBODY, True), 10)
    policy("deny")
    wait_until("nobody may ask", lambda: web.ask("strict") == (DENIED, True), 10)


def client_hello(context):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=SERVER)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


def shake_hands(tls, plain, incoming):
    while True:
        try:
            return tls.do_handshake()
        except ssl.SSLWantReadError:
            piece = plain.recv(65536)
            assert piece, "closed within the handshake"
            incoming.write(piece)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_hello_in_many_records_and_segments(lab, size):
    """RFC 8446 §5.1: a handshake message may be spread over any number of records, and TCP has no borders at all."""
    tls, incoming, outgoing = client_hello(lab.client(lab.issuer.issue(WEB)))
    record = outgoing.read()
    body = record[5:]
    with socket.create_connection((lab.mesh.address("guarded"), 8080), 10) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(body), size):
            part = body[at:at + size]
            plain.sendall(record[:3] + len(part).to_bytes(2, "big") + part)
        shake_hands(tls, plain, incoming)
        tls.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        plain.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(DOMAIN.encode()):
            incoming.write(plain.recv(65536))
            try:
                answer += tls.read(65536)
            except ssl.SSLWantReadError:
                pass
    assert answer.startswith(b"HTTP/1.1 200 ")


def oversized_hello(declared):
    """A ClientHello of `declared` bytes by its own account, in full records, with our SNI well within the first."""
    _, _, outgoing = client_hello(ssl.create_default_context())
    hello = outgoing.read()[5:]
    message = b"\x01" + declared.to_bytes(3, "big") + hello[4:] + bytes(max(0, declared + 4 - len(hello)))
    return b"".join(b"\x16\x03\x01" + len(message[at:at + 16384]).to_bytes(2, "big") + message[at:at + 16384] for at in range(0, len(message), 16384))


@pytest.mark.parametrize("declared", [70_000, 1_000_000, 16_000_000])
def test_a_hello_that_is_too_big_ends(lab, declared):
    """It is refused or passed over as raw bytes to nobody, and not kept: the connection ends within the detect timeout."""
    with socket.create_connection((lab.mesh.address("guarded"), 8080), 15) as plain:
        try:
            plain.sendall(oversized_hello(declared))
            plain.shutdown(socket.SHUT_WR)
            assert b"200" not in read_all(plain)
        except OSError:  # closed before all was sent
            pass
    assert lab.ask("guarded", lab.client(lab.issuer.issue(WEB))) == OK


def test_handshakes_that_are_cut_do_no_harm(lab):
    """After each number of bytes of the client's part of the handshake."""
    context = lab.client(lab.issuer.issue(WEB))
    address = (lab.mesh.address("open"), 8080)
    tls, incoming, outgoing = client_hello(context)
    hello = outgoing.read()
    for cut in range(0, len(hello), 23):
        with socket.create_connection(address, 10) as plain:
            plain.sendall(hello[:cut])
    with socket.create_connection(address, 10) as plain:  # and in the second flight
        plain.sendall(hello)
        incoming.write(plain.recv(65536))
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        plain.sendall(outgoing.read()[:40])
    assert lab.ask("open", context) == OK


# What a server shows → what the client's program is told, or that the proxy speaks to it.
SPEAKS = "speaks"
SERVERS = {
    "its certificate": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}"), SPEAKS),
    "two names": (lambda lab: lab.issuer.issue(f"DNS:api.{DOMAIN},DNS:{SERVER}"), SPEAKS),
    "somebody else's": (lambda lab: lab.issuer.issue(WEB), f"expected {SERVER}, but the certificate is of web."),
    "one of another mesh": (lambda lab: lab.stranger.issue(f"DNS:{SERVER}"), "root that we trust"),
    "an expired one": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}", -2 * HOUR, -60), "expired"),
    "one that is not valid yet": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}", HOUR, 2 * HOUR), "not valid before"),
    "one for clients only": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}", extended="clientAuth"), "extended key usage"),
    "a CA's": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}", is_ca=True), "is a CA's"),
    "one signed by a leaf": (lambda lab: lab.issuer.issue(f"DNS:{SERVER}").as_issuer().issue(f"DNS:{SERVER}"), "root that we trust"),
    "a name with a NUL": (lambda lab: lab.issuer.issue(other_ber_names(SERVER.encode() + b"\0.evil")), "of nobody"),
    "a wildcard": (lambda lab: lab.issuer.issue(f"DNS:*.{DOMAIN}"), "of nobody"),
    "no name": (lambda lab: lab.issuer.issue(None), "of nobody"),
}


class FakeServer:
    """Mesh TLS with what it is given to show; notes what the clients say first, once they have let it in."""

    def __init__(self, address, shown, version):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = self.context.maximum_version = version
        self.context.load_cert_chain(shown.chain, shown.key)
        self.said, self.resumed = [], []
        self.listener = socket.create_server((address, 8080))

    def serve(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            try:
                with plain, self.context.wrap_socket(plain, server_side=True) as client:
                    client.settimeout(10)
                    self.resumed.append(client.session_reused)
                    self.said.append(client.recv(24))
            except OSError:
                pass

    def __enter__(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def told_about(lab, name, shown, version=ssl.TLSVersion.TLSv1_3):
    """What a pod's program is told when the server of its target shows `shown`; SPEAKS if the proxy let it in."""
    server = Workload(lab.mesh.name, name, name, {"http": 8080})
    try:
        with FakeServer(server.address, shown, version) as fake:
            server.ready()
            wait_until(f"{name} is an endpoint", lambda: lab.mesh.endpoints(name, 8080), 10)
            _, log = lab.mesh.curl(f"asks-{name}", "-i", f"http://{name}:8080/")
            return SPEAKS if any(said.startswith(b"PRI * HTTP/2") for said in fake.said) else log
    finally:
        server.close()


@pytest.mark.parametrize("shown", SERVERS)
def test_a_server_shows(lab, shown):
    make, wanted = SERVERS[shown]
    told = told_about(lab, f"s{list(SERVERS).index(shown)}", make(lab))
    if wanted == SPEAKS:
        assert told == SPEAKS
    else:
        assert re.search(f"^l5d-proxy-error: .*{re.escape(wanted)}", told, re.MULTILINE), told


def test_an_old_server_is_refused(lab):
    told = told_about(lab, "old", lab.issuer.issue(f"DNS:{SERVER}"), ssl.TLSVersion.TLSv1_2)
    assert re.search("^l5d-proxy-error: .*protocol version", told, re.MULTILINE), told


ASKS = """
import time, urllib.error, urllib.request
for _ in range(100):
    try:
        urllib.request.urlopen("http://brief:8080/", timeout=5)
    except urllib.error.HTTPError as e:
        print(e.headers.get("l5d-proxy-error"), flush=True)
    time.sleep(0.2)
"""


def test_a_client_resumes_until_the_certificate_of_the_server_expires(lab):
    server = Workload(lab.mesh.name, "brief", "brief", {"http": 8080})
    try:
        with FakeServer(server.address, lab.issuer.issue(f"DNS:{SERVER}", end=6), ssl.TLSVersion.TLSv1_3) as fake:
            server.ready()
            wait_until("it is an endpoint", lambda: lab.mesh.endpoints("brief", 8080), 10)
            pod = lab.mesh.run("asks-brief", [PYTHON, "-c", ASKS])
            wait_until("the certificate has expired", lambda: "expired" in pod.log(), 20)
            assert fake.resumed[0] is False and True in fake.resumed, fake.resumed
            pod.stop()
    finally:
        server.close()
