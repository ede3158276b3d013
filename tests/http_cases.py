"""Requests that must not pass, as raw bytes, and those near them that must. RFC 9112 unless said otherwise."""

HEAD = b"GET / HTTP/1.1\r\nHost: origin\r\nx-id: %s\r\n"


def get(ident, extra=b"", body=b""):
    return HEAD % ident.encode() + extra + b"\r\n" + body


def post(ident, extra, body):
    return b"POST / HTTP/1.1\r\nHost: origin\r\nx-id: " + ident.encode() + b"\r\n" + extra + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked\r\n"

# name → (bytes, status). The connection must be closed after the answer.
REFUSED = {
    "obs-fold": (get("obs-fold", b"a: b\r\n c\r\n"), 400),
    "bare-lf-in-head": (HEAD % b"bare-lf-in-head" + b"a: b\n\r\n", 400),
    "bare-lf-after-request-line": (b"GET / HTTP/1.1\nHost: origin\r\nx-id: bare-lf-after-request-line\r\n\r\n", 400),
    "bare-cr-in-value": (get("bare-cr-in-value", b"a: b\rc\r\n"), 400),
    "space-before-colon": (get("space-before-colon", b"a : b\r\n"), 400),
    "empty-name": (get("empty-name", b": b\r\n"), 400),
    "no-colon": (get("no-colon", b"abc\r\n"), 400),
    "invalid-character-in-name": (get("invalid-character-in-name", b"a(b: c\r\n"), 400),
    "nul-in-value": (get("nul-in-value", b"a: b\0c\r\n"), 400),
    "control-character-in-value": (get("control-character-in-value", b"a: b\x01c\r\n"), 400),
    "content-length-and-transfer-encoding": (post("content-length-and-transfer-encoding", b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n"), 400),
    "differing-content-lengths": (post("differing-content-lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"), 400),
    "differing-content-lengths-in-list": (post("differing-content-lengths-in-list", b"Content-Length: 5, 6\r\n", b"hello!"), 400),
    "negative-content-length": (post("negative-content-length", b"Content-Length: -1\r\n", b""), 400),
    "signed-content-length": (post("signed-content-length", b"Content-Length: +5\r\n", b"hello"), 400),
    "hex-content-length": (post("hex-content-length", b"Content-Length: 0x5\r\n", b"hello"), 400),
    "huge-content-length": (post("huge-content-length", b"Content-Length: 99999999999999999999\r\n", b""), 400),
    "duplicate-host": (get("duplicate-host", b"Host: other\r\n"), 400),
    "missing-host": (b"GET / HTTP/1.1\r\nx-id: missing-host\r\n\r\n", 400),
    "invalid-host": (b"GET / HTTP/1.1\r\nHost: a b\r\nx-id: invalid-host\r\n\r\n", 400),
    "chunked-not-last": (post("chunked-not-last", b"Transfer-Encoding: chunked, gzip\r\n", b"0\r\n\r\n"), (400, 501)),
    "unknown-transfer-encoding": (post("unknown-transfer-encoding", b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), (400, 501)),
    "obscured-transfer-encoding": (post("obscured-transfer-encoding", b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400),
    "bad-chunk-size": (post("bad-chunk-size", CHUNKED, b"zz\r\nhello\r\n0\r\n\r\n"), 400),
    "signed-chunk-size": (post("signed-chunk-size", CHUNKED, b"+5\r\nhello\r\n0\r\n\r\n"), 400),
    "prefixed-chunk-size": (post("prefixed-chunk-size", CHUNKED, b"0x5\r\nhello\r\n0\r\n\r\n"), 400),
    "huge-chunk-size": (post("huge-chunk-size", CHUNKED, b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 400),
    "bare-lf-after-chunk-size": (post("bare-lf-after-chunk-size", CHUNKED, b"5\nhello\r\n0\r\n\r\n"), 400),
    "bare-lf-in-chunk-extension": (post("bare-lf-in-chunk-extension", CHUNKED, b"5;a\nb\r\nhello\r\n0\r\n\r\n"), 400),
    "chunk-longer-than-its-size": (post("chunk-longer-than-its-size", CHUNKED, b"3\r\nhello\r\n0\r\n\r\n"), 400),
    "bad-version": (b"GET / HTTP/1.2x\r\nHost: origin\r\nx-id: bad-version\r\n\r\n", (400, 505)),
    "lower-case-version": (b"GET / http/1.1\r\nHost: origin\r\nx-id: lower-case-version\r\n\r\n", (400, 505)),
    "two-spaces-in-request-line": (b"GET  / HTTP/1.1\r\nHost: origin\r\nx-id: two-spaces-in-request-line\r\n\r\n", 400),
    "tab-in-request-line": (b"GET\t/ HTTP/1.1\r\nHost: origin\r\nx-id: tab-in-request-line\r\n\r\n", 400),
    "control-character-in-target": (b"GET /\x01 HTTP/1.1\r\nHost: origin\r\nx-id: control-character-in-target\r\n\r\n", 400),
    "long-target": (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: origin\r\nx-id: long-target\r\n\r\n", 414),
    "long-header": (get("long-header", b"a: " + b"b" * 300_000 + b"\r\n"), 431),
    "many-headers": (get("many-headers", b"".join(b"a%d: b\r\n" % i for i in range(20_000))), 431),
}

# name → (bytes, text in the answer): they look odd and are right.
ACCEPTED = {
    "plain": (get("plain"), b"200 OK"),
    "empty-lines-before-the-request-line": (b"\r\n" + get("empty-lines-before-the-request-line"), b"200 OK"),
    "white-space-around-a-value": (get("white-space-around-a-value", b"a: \t b \t\r\n"), b"200 OK"),
    "obs-text-in-a-value": (get("obs-text-in-a-value", b"a: \xe9\r\n"), b"200 OK"),
    "chunk-extension": (post("chunk-extension", CHUNKED, b"5;a=\"b\"\r\nhello\r\n0\r\n\r\n"), b"200 OK"),
    "trailer-section": (post("trailer-section", CHUNKED, b"5\r\nhello\r\n0\r\na: b\r\n\r\n"), b"200 OK"),
    "same-content-length-twice": (post("same-content-length-twice", b"Content-Length: 5, 5\r\n", b"hello"), (b"200 OK", b"400")),
    "options-asterisk": (b"OPTIONS * HTTP/1.1\r\nHost: origin\r\nx-id: options-asterisk\r\n\r\n", b"200 OK"),
    "absolute-form": (b"GET http://origin/ HTTP/1.1\r\nHost: origin\r\nx-id: absolute-form\r\n\r\n", b"200 OK"),
    "http-1.0": (b"GET / HTTP/1.0\r\nHost: origin\r\nx-id: http-1.0\r\n\r\n", b"200 OK"),
}
