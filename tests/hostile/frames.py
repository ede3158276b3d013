"""HTTP/2 frames as raw bytes (RFC 9113 §4), header blocks without a table (RFC 7541 §6.2.2), and a connection that says
what it has been answered."""
import select
import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload) << 8 | kind) + struct.pack(">BI", flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *p) for p in pairs))


def number(prefix_bits, first, value):
    """An integer of RFC 7541 §5.1."""
    most = (1 << prefix_bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(name, value, first=0x00):
    """One literal: first=0x00 leaves the table alone, 0x40 puts the field into it."""
    name, value = name.encode(), value.encode() if isinstance(value, str) else value
    return bytes([first]) + number(7, 0, len(name)) + name + number(7, 0, len(value)) + value


def request(authority, path="/", method="GET", *more):
    fields = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path), *more]
    return b"".join(field(*f) for f in fields)


class Peer:
    """One connection. It reads while it writes, unless it is deaf."""

    def __init__(self, host, port, first=PREFACE + settings(), deaf=False, receive_buffer=0, wrap=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(5)
        self.sock.connect((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap:
            self.sock = wrap(self.sock)
        self.sock.setblocking(False)
        self.deaf, self.closed, self.goaway, self.goaway_text = deaf, False, None, b""
        self.seen, self.got, self.ended, self.ok, self.buffer = {}, 0, 0, 0, b""
        self.send(first)

    def send(self, data, seconds=1.0):
        """False when the connection has ended or takes no more within `seconds`."""
        deadline = time.monotonic() + seconds
        view = memoryview(data)
        while view and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            readable, writable, _ = select.select([] if self.deaf else [self.sock], [self.sock], [], left)
            if readable:
                self.read()
            if writable:
                try:
                    view = view[self.sock.send(view):]
                except BlockingIOError:
                    pass
                except OSError:
                    self.read(to_end=True)
                    self.closed = True
        return not self.over()

    def read(self, to_end=False):
        while not self.closed:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return
            self.got += len(data)
            self.buffer += data
            self.take_frames()
            if not to_end and len(data) < 65536:
                return

    def take_frames(self):
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                return
            kind, payload = self.buffer[3], self.buffer[9:9 + length]
            self.seen[kind] = self.seen.get(kind, 0) + 1
            if kind == HEADERS and payload[:1] == b"\x88":  # :status 200, of HPACK's own table
                self.ok += 1
            if kind in (DATA, HEADERS) and self.buffer[4] & END:
                self.ended += 1
            if kind == GOAWAY:
                self.goaway, self.goaway_text = int.from_bytes(payload[4:8], "big"), payload[8:]
            self.buffer = self.buffer[9 + length:]

    def over(self):
        return self.closed or self.goaway not in (None, 0)

    def wait(self, seconds, until=None):
        """Reads for a while; true once it is over, or `until` holds."""
        deadline = time.monotonic() + seconds
        while not (until or self.over)():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if select.select([self.sock], [], [], min(left, 0.1))[0]:
                self.read()
                if self.closed:
                    return self.over() if until is None else until()
        return True

    def close(self):
        self.sock.close()
