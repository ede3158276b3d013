"""One exchange of each kind with origin.py, one after the other; prints what was answered as JSON: talker.py HOST KIND…

http1   GET, HEAD, a POST with a length and a chunked one, on one connection
upgrade a connection that is upgraded, and what it echoes
opaque  a line on port 8084
h2, grpc, tcp   two requests each of client.py
get     a GET with HTTP/1, whatever comes of it
"""
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import tempfile

PORTS = {"http1": 8080, "h2": 8081, "grpc": 8082, "tcp": 8083, "opaque": 8084}
# What the mesh is told of the pods with the label app=origin.
MANIFEST = """
    apiVersion: v1
    kind: Service
    metadata: {name: origin, namespace: default, annotations: {config.linkerd.io/opaque-ports: "8084"}}
    spec:
      selector: {app: origin}
      ports: [%s]
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: opaque, namespace: default}
    spec: {podSelector: {matchLabels: {app: origin}}, port: opaque, proxyProtocol: opaque, accessPolicy: all-authenticated}
""" % ", ".join(f"{{name: {n}, port: {p}, targetPort: {n}}}" for n, p in PORTS.items())


def told(answer):
    return {"status": answer.status, "headers": {k.lower(): v for k, v in answer.getheaders()}, "body": answer.read().decode()}


def http1(host):
    connection, answers = http.client.HTTPConnection(host, PORTS["http1"], timeout=20), []
    for method, body, headers in (("GET", None, {}), ("HEAD", None, {}), ("POST", b"four", {}), ("POST", iter([b"one", b"two"]), {"x-kind": "chunked"})):
        connection.request(method, "/echo?q=%2F", body, {"x-id": "http1-0", "Host": "origin:8080", **headers}, encode_chunked=body is not None)
        answers.append(told(connection.getresponse()))
    return answers


def get(host):
    connection = http.client.HTTPConnection(host, PORTS["http1"], timeout=20)
    connection.request("GET", "/", headers={"x-id": "http1-0", "Host": "origin:8080"})
    return told(connection.getresponse())


def until(stream, ending):
    data = b""
    while not data.endswith(ending):
        piece = stream.recv(65536)
        if not piece:
            break
        data += piece
    return data


def upgrade(host):
    with socket.create_connection((host, PORTS["http1"]), 20) as stream:
        stream.sendall(b"GET /ws HTTP/1.1\r\nHost: origin:8080\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        head = until(stream, b"\r\n\r\n")
        stream.sendall(b"what goes up")
        return {"head": head.decode(), "echo": until(stream, b"up").decode()}


def opaque(host):
    with socket.create_connection((host, PORTS["opaque"]), 20) as stream:
        stream.sendall(b"opaque-0\n")
        return until(stream, b"opaque-0\n").decode()


def by_client(kind, host):
    client = pathlib.Path(__file__).resolve().parent / "client.py"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        subprocess.run([sys.executable, client, f"--{kind}", f"{host}:{PORTS[kind]}", "--out", out, "--rate", "5", "--seconds", "0.4"], check=True, timeout=40)
        return [json.loads(line) for line in out.read_text().splitlines()]


def main():
    host, *kinds = sys.argv[1:]
    own = {"http1": http1, "get": get, "upgrade": upgrade, "opaque": opaque}
    print(json.dumps({kind: own[kind](host) if kind in own else by_client(kind, host) for kind in kinds}))


if __name__ == "__main__":
    main()
