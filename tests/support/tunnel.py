"""Both ends of tunnels of which either end may end its direction first.

tunnel.py serve PORT        a server: CONNECT and upgrades become tunnels, then as the path (CONNECT: the first bytes) says
tunnel.py ask HOST PORT     a client: every case, one line `CASE ok` or `CASE what was wrong` each; exit code 0: all ok

server-first: the server sends "bye" and ends its direction, the client then sends 1 MiB; `GET /result/METHOD` says what
came. client-first: the client ends its direction, the server then sends 1 MiB.
"""
import hashlib
import socket
import sys
import threading

MUCH = bytes(range(256)) * 4096  # 1 MiB
DIGEST = hashlib.sha256(MUCH).hexdigest()
RESULTS = {}  # of the server: case → digest of what came


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        byte = connection.recv(1)
        if not byte:
            raise OSError(f"end inside a head: {head!r}")
        head += byte
    return head.decode("latin-1")


def read_all(connection):
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def serve_one(connection):
    with connection:
        connection.settimeout(20)
        try:
            method, target, _ = read_head(connection).split("\r\n")[0].split(" ")
            if target.startswith("/result/"):
                body = RESULTS.get(target.removeprefix("/result/"), "nothing").encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                return
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                case = connection.recv(12).decode()
            else:
                connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
                case = target.strip("/")
            if case.startswith("server-first"):
                connection.sendall(b"bye")
                connection.shutdown(socket.SHUT_WR)
                RESULTS[method] = hashlib.sha256(read_all(connection)).hexdigest()
            else:
                RESULTS[method] = hashlib.sha256(read_all(connection)).hexdigest()
                connection.sendall(MUCH)
                connection.shutdown(socket.SHUT_WR)
        except OSError as e:
            RESULTS["error"] = str(e)


def serve(port):
    with socket.create_server(("", port)) as listener:
        while True:
            threading.Thread(target=serve_one, args=(listener.accept()[0],), daemon=True).start()


def ask_one(host, port, method, case):
    with socket.create_connection((host, port), 20) as connection:
        if method == "CONNECT":
            connection.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        else:
            connection.sendall(f"GET /{case} HTTP/1.1\r\nHost: {host}\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n".encode())
        head = read_head(connection)
        if head.split(" ")[1] not in ("101", "200"):
            return head
        if method == "CONNECT":
            connection.sendall(case.encode())
        if case == "server-first":
            if (got := read_all(connection)) != b"bye":
                return f"got {got[:100]!r}"
            connection.sendall(MUCH)
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.shutdown(socket.SHUT_WR)
            if (got := read_all(connection)) != MUCH:
                return f"got {len(got)} of {len(MUCH)} bytes"
            return "ok"
    for _ in range(100):  # the server may still be reading
        with socket.create_connection((host, port), 20) as connection:
            connection.sendall(f"GET /result/{method} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            connection.shutdown(socket.SHUT_WR)  # and whoever half-closes gets an answer
            if not (answer := read_all(connection).decode()):
                return "no answer to a client that half-closed"
        if "nothing" not in answer:
            return "ok" if answer.endswith(DIGEST) else f"the server got something else: {answer}"
    return "the server got nothing"


def main():
    if sys.argv[1] == "serve":
        return serve(int(sys.argv[2]))
    wrong = 0
    for method in ("GET", "CONNECT"):
        for case in ("server-first", "client-first"):
            result = ask_one(sys.argv[2], int(sys.argv[3]), method, case)
            wrong += result != "ok"
            print(method, case, result, flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
