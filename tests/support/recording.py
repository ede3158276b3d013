"""What was said on a connection, as text that can be read and played again: one line a piece, in the order of what
happened. `>` is the client, `<` the server.

    > TRANSPORT 0801…            the transport header of a direct connection (protobuf)
    > PREFACE                    that of HTTP/2; from here on both sides are frames
    > HEADERS 04 1 8286…         type, flags, stream, payload; what the header block says stands above it as a comment
    < DATA 01 1 (120)            of the side that is not to be played again only the length is kept
    > BYTES 4745…                of a connection that is not HTTP/2
"""
import dataclasses
import struct

import hpack

TYPES = ["DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION"]
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DIRECT = b"transport.l5d.io/v1\r\n\r\n"
END_STREAM, ACK, PADDED, PRIORITY = 0x1, 0x1, 0x8, 0x20


@dataclasses.dataclass
class Piece:
    who: str
    kind: str
    flags: int = 0
    stream: int = 0
    payload: bytes = b""
    length: int = -1  # of a payload that was not kept

    def ends_stream(self):
        return self.kind == "RST_STREAM" or (self.kind in ("DATA", "HEADERS") and bool(self.flags & END_STREAM))

    def is_ack(self):
        return self.kind in ("SETTINGS", "PING") and bool(self.flags & ACK)

    def wire(self):
        if self.kind == "PREFACE":
            return HTTP2
        if self.kind == "TRANSPORT":
            return DIRECT + struct.pack("!I", len(self.payload)) + self.payload
        if self.kind == "BYTES":
            return self.payload
        return struct.pack("!I", len(self.payload))[1:] + bytes([TYPES.index(self.kind), self.flags]) + struct.pack("!I", self.stream) + self.payload

    def line(self):
        rest = self.payload.hex() if self.length < 0 else f"({self.length})"
        frame = f" {self.flags:02x} {self.stream}" if self.kind in TYPES else ""
        return f"{self.who} {self.kind}{frame} {rest}".rstrip()

    def block(self):
        """The part of a HEADERS frame's payload that is header block."""
        data = self.payload
        if self.flags & PADDED:
            data = data[1:len(data) - data[0]]
        return data[5:] if self.flags & PRIORITY else data


def parse_line(line):
    who, kind, *words = line.split()
    flags, stream = (int(words[0], 16), int(words[1])) if kind in TYPES else (0, 0)
    rest = words[2 if kind in TYPES else 0:]
    if rest and rest[0].startswith("("):
        return Piece(who, kind, flags, stream, length=int(rest[0].strip("()")))
    return Piece(who, kind, flags, stream, bytes.fromhex(rest[0]) if rest else b"")


def load(path):
    """The pieces of a file."""
    return [parse_line(line) for line in path.read_text().splitlines() if line[:1] in ("<", ">")]


def dump(path, about, pieces, kept):
    """Writes `pieces`, the payloads of the side `kept` only; `about` is a comment at the top."""
    decoder, lines = hpack.Decoder(), [f"# {line}".rstrip() for line in about.splitlines()]
    for piece in pieces:
        if piece.who != kept:
            lines.append(dataclasses.replace(piece, payload=b"", length=len(piece.payload)).line())
            continue
        if piece.kind == "HEADERS":
            lines += [f"#   {name}: {value}" for name, value in decoder.decode(piece.block())]
        elif piece.kind == "BYTES":
            lines.append(f"#   {piece.payload[:200]!r}")
        lines.append(piece.line())
    path.write_text("\n".join(lines) + "\n")


def heads(pieces, who):
    """Stream → its first header block, of the side whose payloads were kept."""
    decoder, out = hpack.Decoder(), {}
    for piece in pieces:
        if piece.who == who and piece.kind == "HEADERS":
            out.setdefault(piece.stream, dict(decoder.decode(piece.block())))
    return out


class Conversation:
    """Cuts the bytes of both sides of a connection into `pieces`, as they come."""

    def __init__(self):
        self.rest, self.http2, self.pieces = {">": b"", "<": b""}, None, []

    def add(self, who, data):
        self.rest[who] += data
        if self.http2 is None and not self.opened():
            return
        for side in (who, "<" if who == ">" else ">"):
            while piece := self.next(side):
                self.pieces.append(piece)

    def opened(self):
        """Whether the client has said enough to tell what this is."""
        data = self.rest[">"]
        if data and (DIRECT.startswith(data) or (data.startswith(DIRECT) and len(data) < len(DIRECT) + 4)):
            return False
        if data.startswith(DIRECT):
            size, = struct.unpack_from("!I", data, len(DIRECT))
            start = len(DIRECT) + 4
            if len(data) < start + size:
                return False
            self.pieces.append(Piece(">", "TRANSPORT", payload=data[start:start + size]))
            self.rest[">"] = data = data[start + size:]
        if not data or (HTTP2.startswith(data) and len(data) < len(HTTP2)):
            return False
        self.http2 = data.startswith(HTTP2)
        if self.http2:
            self.pieces.append(Piece(">", "PREFACE"))
            self.rest[">"] = data[len(HTTP2):]
        return True

    def next(self, who):
        data = self.rest[who]
        if not self.http2:
            self.rest[who] = b""
            return Piece(who, "BYTES", payload=data) if data else None
        size = int.from_bytes(data[:3], "big")
        if len(data) < 9 + size:
            return None
        self.rest[who] = data[9 + size:]
        return Piece(who, TYPES[data[3]], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + size])


@dataclasses.dataclass
class Said:
    """What the live side said on one stream."""
    headers: list = dataclasses.field(default_factory=list)  # one list of (name, value) for each HEADERS
    data: bytes = b""
    ended: bool = False
    reset: int | None = None

    def head(self):
        return dict(self.headers[0])

    def trailers(self):
        return dict(self.headers[-1])


class Player:
    """Plays the side `me` of a recording on `sock`, a blocking socket with a timeout, and keeps what the other side, a
    live one, says: `said[stream]`, `bytes`. Waits where the recorded side had waited: for the first of an answer, and
    for its end. Acknowledgements are given to what is really asked."""

    def __init__(self, sock, me):
        self.sock, self.me, self.buffer = sock, me, b""
        self.said, self.bytes, self.decoder = {}, b"", hpack.Decoder()
        self.settings, self.transport, self.goaway = False, None, None
        self.began, self.owed = False, []  # acknowledgements, which may not go before our own SETTINGS

    def play(self, pieces):
        """All of it; AssertionError, or the socket's TimeoutError, if the other side does not do its part."""
        http2 = any(p.kind == "PREFACE" for p in pieces)
        for at, piece in enumerate(pieces):
            if piece.who == self.me:
                if not piece.is_ack():
                    self.sock.sendall(piece.wire())
                if piece.kind == "SETTINGS" and not self.began:
                    self.began = True
                    self.sock.sendall(b"".join(self.owed))
            elif piece.kind in ("PREFACE", "TRANSPORT"):
                self.opening(piece.kind)
            elif http2:
                self.wait_for(piece)
            elif at + 1 == len(pieces) or pieces[at + 1].who == self.me:
                self.hear()
        return self

    def opening(self, kind):
        start = HTTP2 if kind == "PREFACE" else DIRECT
        assert self.exactly(len(start)) == start
        if kind == "TRANSPORT":
            self.transport = self.exactly(int.from_bytes(self.exactly(4), "big"))

    def exactly(self, size):
        while len(self.buffer) < size:
            piece = self.sock.recv(65536)
            assert piece, f"closed after {self.buffer!r}, {size} bytes were wanted; goaway: {self.goaway}"
            self.buffer += piece
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def hear(self):
        """Something, of a connection that is not HTTP/2. How much is in the test's hands: hear_until."""
        taken, self.buffer = self.buffer or self.sock.recv(65536), b""
        assert taken, f"closed after {self.bytes!r}"
        self.bytes += taken

    def hear_until(self, ending):
        while not self.bytes.endswith(ending):
            self.hear()
        return self.bytes

    def wait_for(self, piece):
        if piece.kind == "SETTINGS" and not piece.flags & ACK:
            self.until(lambda: self.settings)
        elif piece.ends_stream():
            self.until(lambda: self.stream(piece.stream).ended)
        elif piece.kind == "DATA":
            self.until(lambda: self.stream(piece.stream).data or self.stream(piece.stream).ended)
        elif piece.kind == "HEADERS":
            self.until(lambda: self.stream(piece.stream).headers or self.stream(piece.stream).ended)

    def stream(self, number):
        return self.said.setdefault(number, Said())

    def until(self, condition):
        while not condition():
            self.frame()

    def frame(self):
        """Takes one frame of the live side."""
        head = self.exactly(9)
        frame = Piece("", TYPES[head[3]], head[4], int.from_bytes(head[5:], "big"), self.exactly(int.from_bytes(head[:3], "big")))
        if frame.kind in ("SETTINGS", "PING") and not frame.is_ack():
            self.settings = self.settings or frame.kind == "SETTINGS"
            self.owed.append(dataclasses.replace(frame, flags=ACK, payload=b"" if frame.kind == "SETTINGS" else frame.payload).wire())
            if self.began:
                self.sock.sendall(self.owed.pop())
        elif frame.kind == "HEADERS":
            self.stream(frame.stream).headers.append(self.decoder.decode(frame.block()))
        elif frame.kind == "DATA":
            self.stream(frame.stream).data += frame.payload
        elif frame.kind == "GOAWAY":
            self.goaway = frame.payload
        elif frame.kind == "RST_STREAM":
            self.stream(frame.stream).reset = int.from_bytes(frame.payload, "big")
        if frame.ends_stream():
            self.stream(frame.stream).ended = True
