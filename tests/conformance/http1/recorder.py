"""An application that writes down byte for byte what it is sent, and answers as a row of responses.txt says:
recorder.py PORT LOG. One JSON line each: {"kind": request|tunnel|partial, "connection": N, "hex": …}, written before the
answer leaves. The field `x-row: NAME` chooses the answer; without it the answer is "ok" (an echo, after an upgrade or
CONNECT)."""
import itertools
import json
import os
import select
import socket
import sys
import threading

import raw_rows

ANSWERS = {row.name: row for row in raw_rows.read("responses.txt")}


class Recorder:
    def __init__(self, log):
        self.file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.numbers = itertools.count()

    def write(self, kind, connection, data):
        os.write(self.file, (json.dumps({"kind": kind, "connection": connection, "hex": data.hex()}) + "\n").encode())

    def serve(self, connection):
        number, reader = next(self.numbers), raw_rows.Reader(connection)
        with connection:
            try:
                while self.one(number, connection, reader):
                    pass
            except (EOFError, AssertionError, ValueError):
                if reader.data:
                    self.write("partial", number, reader.data)
            except OSError:
                pass

    def one(self, number, connection, reader):
        head = b""
        try:
            head = reader.until(b"\r\n\r\n")
            fields = raw_rows.fields_of(head)
            method, _, version = head.split(b"\r\n")[0].split(b" ")
            row = ANSWERS.get(fields.get("x-row"))
            if row and row.request == "POST":  # answers early: the body stays unread
                self.write("request", number, head)
                connection.sendall(row.sent)
                ended = select.poll()  # by the other end; until then nothing is read
                ended.register(connection, select.POLLRDHUP)
                ended.poll(5000)
                while connection.recv(65536):
                    pass
                return False
            if fields.get("expect", "").lower() == "100-continue" and version == b"HTTP/1.1":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = reader.body(fields)
        except (EOFError, AssertionError, ValueError):
            if head or reader.data:
                self.write("partial", number, head + reader.data)
            return False
        self.write("request", number, head + body)
        if row:
            connection.sendall(row.sent)
            if row.has("eof"):
                return False
            if row.request in ("UPGRADE", "CONNECT") and row.has("drop"):
                return self.tunnel(number, connection, reader, False)
            return True
        if method == b"CONNECT" or "upgrade" in fields:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" if method == b"CONNECT" else
                               b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")
            return self.tunnel(number, connection, reader, True)
        last = version == b"HTTP/1.0"
        connection.sendall(b"HTTP/1.1 200 OK\r\n%scontent-length: 2\r\n\r\n%s" % (b"connection: close\r\n" if last else b"", b"" if method == b"HEAD" else b"ok"))
        return not last

    def tunnel(self, number, connection, reader, echo):
        try:
            while True:
                if not reader.data:
                    reader.more()
                data = reader.take(len(reader.data))
                self.write("tunnel", number, data)
                if echo:
                    connection.sendall(data)
        except EOFError:
            return False


def main():
    recorder = Recorder(sys.argv[2])
    with socket.create_server(("", int(sys.argv[1])), backlog=256) as listener:
        while True:
            threading.Thread(target=recorder.serve, args=(listener.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    main()
