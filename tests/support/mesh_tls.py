"""Mesh TLS as a program that is not ours speaks it (OpenSSL, by Python): a certificate from the control plane, and a
tunnel that takes plaintext on a port of the loopback and carries it to a proxy's inbound side. So a tool that knows
neither SNI nor client certificates can test what is behind them."""
import asyncio
import pathlib
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
    """127.0.0.1:`port` → mesh TLS → address:to. `direct`: through the direct port, with a transport header for `to`."""

    def __init__(self, certificate, server_name, address, to, direct=False):
        self.context, self.server_name = certificate.client_context(), server_name
        self.target = (address, DIRECT_PORT if direct else to)
        self.first = transport_header(to) if direct else b""
        if direct:
            self.context.set_alpn_protocols([ALPN])
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.opened = 0  # connections that got through

    async def serve(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target, ssl=self.context, server_hostname=self.server_name)
        except OSError:  # ssl.SSLError is one
            return writer.close()
        self.opened += 1
        if self.first:
            up_writer.write(self.first)
        back = asyncio.ensure_future(pump(up_reader, writer))
        await pump(reader, up_writer)
        up_writer.transport.abort()  # a client that is gone is gone for the other end too, at once
        await back

    def __enter__(self):
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()
