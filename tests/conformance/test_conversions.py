"""HTTP/2 that carries HTTP/1 between two proxies, row by row (http1/from-http2.txt): a peer in the mesh that sends whatever
it likes, raw frame by raw frame, and the application that must never get a message of another shape."""
import pathlib
import re
import socket
import struct
import sys

import hpack
from support.control import Workload
from support.mesh_tls import Certificate, Tunnel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "http1"))
import raw_rows  # noqa: E402
from replay import Log  # noqa: E402

TOOL = "HTTP/2 to HTTP/1"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


class Peer:
    """One HTTP/2 connection that checks nothing of what it sends."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), 10)
        self.reader, self.encoder, self.decoder = raw_rows.Reader(self.connection), hpack.Encoder(), hpack.Decoder()
        self.connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        self.next = 1

    def ask(self, fields, data, tunnel):
        """(status, body), or what ended it: "reset", "goaway"."""
        stream, self.next = self.next, self.next + 2
        out = frame(HEADERS, END_HEADERS | (0 if data or tunnel else END_STREAM), stream, self.encoder.encode(fields, huffman=False))
        for i, payload in enumerate(data):
            out += frame(DATA, END_STREAM if i == len(data) - 1 and not tunnel else 0, stream, payload)
        self.connection.sendall(out)
        status, body = None, b""
        while True:
            head = self.reader.take(9)
            size, kind, flags, where = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self.reader.take(size)
            if kind == SETTINGS and not flags:
                self.connection.sendall(frame(SETTINGS, 1, 0))
            elif kind == GOAWAY:
                return "goaway", payload
            elif kind == HEADERS:
                found = dict(self.decoder.decode(payload, raw=True))
                status = status or int(found[b":status"])
            elif where == stream and kind == RST_STREAM:
                return "reset", payload
            elif where == stream and kind == DATA:
                body += payload
            if where == stream and (flags & END_STREAM if kind in (HEADERS, DATA) else False) or (tunnel and body == b"".join(data)):
                return status, body


def test_rows(recorder, cases):
    mesh = recorder
    log, all_rows, wrong = Log(mesh.folder / "log"), raw_rows.read_from_http2(), []
    workload = Workload(mesh.name, "peer", "peer")
    certificate = Certificate(workload, mesh.folder)
    with Tunnel(certificate, certificate.name, mesh.address("recorder"), 8080) as tunnel:  # same service account, same name
        peer = Peer(tunnel.port)
        for row in all_rows:
            try:
                got = peer.ask([*row.fields, (b"l5d-orig-proto", b"HTTP/1.1")], row.data, row.has("tunnel"))
            except (EOFError, TimeoutError) as e:
                got = type(e).__name__, b""
            if got[0] != (row.statuses[0] if row.statuses else "reset"):
                wrong.append(f"{row.name}: {got}")
            if isinstance(got[0], str) and got[0] != "reset":
                peer = Peer(tunnel.port)
            entries = log.new()
            seen = b"".join(bytes.fromhex(e["hex"]) for e in entries if e["kind"] != "partial")
            seen = re.sub(rb"l5d-client-id: [^\r]*\r\n", b"", seen)
            if seen != row.seen:
                wrong.append(f"{row.name}: the application got {seen!r}")
        assert peer.ask([(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"), (b"l5d-orig-proto", b"HTTP/1.1")], [], False)[0] == 200
    workload.close()
    cases("inbound, mesh TLS", wrong, len(all_rows), len(all_rows))
