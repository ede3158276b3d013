"""Sends each case of tests/http/cases.py as raw bytes over a connection of its own, byte for byte, and writes down what
came back: raw.py HOST PORT OUT. Runs inside a pod as well as outside of it."""
import json
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from http_cases import ACCEPTED, REFUSED  # noqa: E402


def exchange(host, port, data, seconds=5):
    """(what came back, did the other end close) of one connection."""
    with socket.create_connection((host, port), timeout=seconds) as connection:
        answer = b""
        try:
            connection.sendall(data)
        except OSError:
            pass  # refused before all was sent: the answer may be here all the same
        try:
            while chunk := connection.recv(65536):
                answer += chunk
                if answer.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" in answer:
                    return answer, False  # what is right may stay open
            return answer, True
        except TimeoutError:
            return answer, False
        except ConnectionError:
            return answer, True


def main():
    host, port, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    results = {}
    for name, (data, _) in {**REFUSED, **ACCEPTED}.items():
        answer, closed = exchange(host, port, data)
        results[name] = {"line": answer.split(b"\r\n")[0].decode("latin-1"), "closed": closed}
    pathlib.Path(out).write_text(json.dumps(results))


if __name__ == "__main__":
    main()
