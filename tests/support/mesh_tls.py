"""Mesh TLS as a program that is not ours speaks it (OpenSSL, by Python): a certificate from the control plane, and a
tunnel that takes plaintext on a port of the loopback and carries it to a proxy's inbound side. So a tool that knows
neither SNI nor client certificates can test what is behind them."""
import pathlib
import select
import socket
import ssl
import struct
import subprocess
import threading

import identity_pb2
import identity_pb2_grpc
import transport_pb2

DIRECT_PORT = 4143
ALPN = "transport.l5d.io/v1"
PREFACE = ALPN.encode() + b"\r\n\r\n"


class Certificate:
    """What a workload (support.control.Workload) shows to its peers: PEM files `chain`, `key` and `anchors` in `folder`."""

    def __init__(self, workload, folder):
        folder = pathlib.Path(folder)
        self.name = workload.env["LINKERD2_PROXY_IDENTITY_LOCAL_NAME"]
        self.key, self.chain, self.anchors = folder / "key.pem", folder / "chain.pem", folder / "anchors.pem"
        csr = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key,
                              "-subj", "/", "-addext", f"subjectAltName=DNS:{self.name}", "-outform", "DER"], check=True, capture_output=True).stdout
        with workload.channel("identity") as channel:
            token = pathlib.Path(workload.env["LINKERD2_PROXY_IDENTITY_TOKEN_FILE"]).read_bytes()
            request = identity_pb2.CertifyRequest(identity=self.name, token=token, certificate_signing_request=csr)
            answer = identity_pb2_grpc.IdentityStub(channel).Certify(request, timeout=10)
        ders = [answer.leaf_certificate, *answer.intermediate_certificates]
        self.chain.write_text("".join(ssl.DER_cert_to_PEM_cert(der) for der in ders))
        self.anchors.write_text(workload.env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"])

    def client_context(self):
        context = ssl.create_default_context(cafile=str(self.anchors))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.chain, self.key)
        return context


def transport_header(port):
    """For HTTP/2 to `port` of the workload."""
    header = transport_pb2.Header(port=port)
    header.session_protocol.http2.SetInParent()
    payload = header.SerializeToString()
    return PREFACE + struct.pack("!I", len(payload)) + payload


class Tunnel:
    """127.0.0.1:`port` → mesh TLS → address:to. `direct`: through the direct port, with a transport header for `to`.
    The end of either side is the end of the other."""

    def __init__(self, certificate, server_name, address, to, direct=False):
        self.context, self.server_name = certificate.client_context(), server_name
        self.target = (address, DIRECT_PORT if direct else to)
        self.first = transport_header(to) if direct else b""
        if direct:
            self.context.set_alpn_protocols([ALPN])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.opened = 0  # connections that got through

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed by __exit__
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            try:
                with socket.create_connection(self.target, 10) as plain, self.context.wrap_socket(plain, server_hostname=self.server_name) as up:
                    self.opened += 1
                    for end in (client, up):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    up.sendall(self.first)
                    carry(client, up)
            except OSError:  # ssl.SSLError is one
                pass

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def carry(client, up):
    while True:
        readable = [up] if up.pending() else select.select([client, up], [], [])[0]
        if client in readable:
            if not (data := client.recv(65536)):
                return
            up.settimeout(10)
            up.sendall(data)
        if up in readable:
            up.settimeout(0)  # a session ticket alone makes it readable, too
            try:
                if not (data := up.recv(65536)):
                    return
            except ssl.SSLWantReadError:
                continue
            client.sendall(data)
