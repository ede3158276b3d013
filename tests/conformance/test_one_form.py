"""docs/http.md, "One form", through a real proxy: what falls under one rule passes as it was sent, what could mean another
rule is refused, counted, and let through on a port that says so."""
import re
import socket
import urllib.request

import pytest
from support.mesh import PYTHON, SUPPORT, server

TOOL = "One form of a path"
WHERE = "inbound"

# A rule for /admin that shows itself by a redirect, and one for the rest.
ROUTE = """
    apiVersion: policy.linkerd.io/v1beta3
    kind: HTTPRoute
    metadata: {name: parts, namespace: default}
    spec:
      parentRefs: [{group: policy.linkerd.io, kind: Server, name: guarded}]
      rules:
      - matches: [{path: {type: PathPrefix, value: /admin}}]
        filters: [{type: RequestRedirect, requestRedirect: {hostname: admin.example.com, statusCode: 302}}]
      - matches: [{path: {type: PathPrefix, value: /}}]
"""
PASS = ["/echo", "/echo//x", "/echo/a%2fb;v=1", "/echo/../echo/%7ex", "/echo/%61%C3%A9?q=/../admin"]
ADMIN = ["/admin", "/%61dmin/x", "/admin//x"]
REFUSED = ["//admin", "/echo/../admin", "/echo/..%2Fadmin", "/echo/..;/admin", "/admin;v=1", "/echo/..%5cadmin", "/%c0%afadmin", "/echo/%252e%252e/admin"]
ALWAYS = ["/echo/%00"]


def ask(address, path):
    """(status, body); the connection goes on after a refusal."""
    with socket.create_connection((address, 8080), 10) as connection:
        connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\nGET /echo/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
    answers = re.findall(rb"HTTP/1.1 (\d+) ", data)
    assert len(answers) == 2 and answers[1] == b"200", data
    return int(answers[0]), data


@pytest.mark.parametrize("allowed", [False, True], ids=["refused", "allowed"])
def test_paths(mesh, allowed):
    mesh.manifest("server.yaml", server("guarded"))
    mesh.manifest("route.yaml", ROUTE)
    mesh.up()
    command = [PYTHON, SUPPORT / "origin.py", "--http1", "8080", "--name", "guarded", "--log", mesh.folder / "origin.ids"]
    mesh.run("guarded", command, "--label", "app=guarded", "--port", "http1=8080", env={"TULLE_PROXY_AMBIGUOUS_PATH_PORTS": "8080"} if allowed else None)
    mesh.ready("guarded")
    address = mesh.address("guarded")
    for path in PASS:
        status, data = ask(address, path)
        assert status == 200 and f"GET {path} HTTP/1.1\r\n".encode() in data, (path, data)
    for path in ADMIN:
        assert ask(address, path)[0] == 302, path
    for path in REFUSED + ALWAYS:
        status, data = ask(address, path)
        if not allowed:
            assert status == 400, (path, data)
        else:
            assert status in (200, 302), (path, data)
    with urllib.request.urlopen(f"http://{address}:4191/metrics", timeout=10) as answer:
        counted = re.findall(r'^inbound_http_errors_total\{.*reason="ambiguous-path".*\} (\d+)', answer.read().decode(), re.M)
    assert sum(map(int, counted)) == (0 if allowed else len(REFUSED + ALWAYS))
    with socket.create_connection((address, 8080), 10) as connection:  # framing is never up to the port
        connection.sendall(b"GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
