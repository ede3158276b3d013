"""Reads requests.txt and responses.txt; README.md says what a row means."""
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parent
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "s": b" "}


class Row:
    def __init__(self, name, rfc, request, verdict):
        self.name, self.rfc, self.request = name, rfc, request
        self.words = verdict.split()
        self.statuses = [int(w) for w in self.words if w.isdigit()]
        self.sent = self.seen = b""

    def has(self, word):
        return word in self.words


def unescape(text, at=0, inner=False):
    """(bytes, where it ended)"""
    out = b""
    while at < len(text):
        c = text[at]
        at += 1
        if inner and c == "}":
            return out, at
        if c == "{" and (m := re.match(r"(\d+)\*", text[at:])):
            piece, at = unescape(text, at + m.end(), True)
            out += piece * int(m.group(1))
        elif c == "\\" and at < len(text):
            if text[at] == "x":
                out += bytes.fromhex(text[at + 1:at + 3])
                at += 3
            else:
                out += ESCAPES.get(text[at], text[at].encode())
                at += 1
        else:
            out += c.encode()
    return out, at


def bytes_of(line):
    joined = line.endswith("\\") and not line.endswith("\\\\")
    return unescape(line[:-1] if joined else line)[0] + (b"" if joined else b"\r\n")


def read(name):
    rows = []
    for line in (FOLDER / name).read_text(encoding="utf-8").split("\n"):
        if line.startswith("= "):
            parts = line[2:].split(" | ")
            rows.append(Row(parts[0], parts[1], parts[2] if len(parts) == 4 else "", parts[-1]))
        elif line.startswith(">"):
            rows[-1].sent += bytes_of(line[2:])
        elif line.startswith("<"):
            rows[-1].seen += bytes_of(line[2:])
    assert len({r.name for r in rows}) == len(rows), "two rows of one name"
    return rows


def read_from_http2():
    """The rows of from-http2.txt: `fields` as pairs, `data` as the payloads of frames."""
    rows = []
    for line in (FOLDER / "from-http2.txt").read_text(encoding="utf-8").split("\n"):
        if line.startswith("= "):
            name, rfc, verdict = line[2:].split(" | ")
            rows.append(Row(name, rfc, "", verdict))
            rows[-1].fields, rows[-1].data = [], []
        elif line.startswith("> "):
            name, value = line[2:].split(" =", 1)
            value = "" if value == "\\s" else value.removeprefix(" ")
            rows[-1].fields.append((unescape(name)[0], unescape(value)[0]))
        elif line.startswith("+ "):
            rows[-1].data.append(unescape(line[2:])[0])
        elif line.startswith("<"):
            rows[-1].seen += bytes_of(line[2:])
    return rows


def fields_of(head):
    """Of a head's lines, in lower case; the last one of a name counts."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}


class Reader:
    """Reads messages from a socket, as lenient as it can be: what comes is compared afterwards."""

    def __init__(self, connection):
        self.connection, self.data, self.eof = connection, b"", False

    def more(self):
        if self.eof:
            raise EOFError
        try:
            piece = self.connection.recv(65536)
        except ConnectionError:
            piece = b""
        if not piece:
            self.eof = True
            raise EOFError
        self.data += piece

    def until(self, mark):
        at = 0
        while (found := self.data.find(mark, at)) < 0:
            at = max(0, len(self.data) - len(mark))
            self.more()
        return self.take(found + len(mark))

    def take(self, n):
        while len(self.data) < n:
            self.more()
        out, self.data = self.data[:n], self.data[n:]
        return out

    def body(self, fields, until_close=False):
        """The body as it is on the wire, chunks made one."""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            text = b""
            while size := int((line := self.until(b"\r\n")).split(b";")[0], 16):
                text += self.take(size)
                assert self.take(2) == b"\r\n", line
            chunk = b"%x\r\n%s\r\n" % (len(text), text) if text else b""
            trailers = b""
            while (line := self.until(b"\r\n")) != b"\r\n":
                trailers += line
            return chunk + b"0\r\n" + trailers + b"\r\n"
        if "content-length" in fields:
            return self.take(int(fields["content-length"]))
        if until_close:
            try:
                while True:
                    self.more()
            except EOFError:
                return self.take(len(self.data))
        return b""
