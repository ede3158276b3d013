"""HTTP/1 hygiene of the real proxies: what RFC 9112 forbids is refused, closed, and never reaches the application."""
import json

import pytest
from http_cases import ACCEPTED, REFUSED
from support.mesh import PYTHON, SUPPORT, server, service
from support.raw import exchange


def judge(results, ids):
    """The list of what is wrong."""
    wrong = []
    for name, (_, statuses) in REFUSED.items():
        line = results[name]["line"]
        wanted = statuses if isinstance(statuses, tuple) else (statuses,)
        if not any(line.startswith(f"HTTP/1.1 {s} ") for s in wanted):
            wrong.append(f"{name}: answered {line!r}, wanted {wanted}")
        elif not results[name]["closed"]:
            wrong.append(f"{name}: the connection was left open")
        if name in ids and "chunk" not in name:  # a chunked body may begin to flow before its error is seen
            wrong.append(f"{name}: reached the application")
    for name, (_, texts) in ACCEPTED.items():
        wanted = texts if isinstance(texts, tuple) else (texts,)
        if not any(text.decode() in results[name]["line"] for text in wanted):
            wrong.append(f"{name}: answered {results[name]['line']!r}, wanted {wanted}")
    return wrong


@pytest.fixture
def origin(mesh):
    mesh.manifest("origin.yaml", service("origin", protocol="http") + server("origin"))
    mesh.up()
    mesh.origin("origin", "origin", "--label", "app=origin", ports="http1")
    mesh.ready("origin")
    return mesh


def served(mesh):
    path = mesh.folder / "origin.ids"
    return {line.split()[1] for line in path.read_text().splitlines()} if path.exists() else set()


def test_inbound_refuses_what_is_not_http(origin):
    """Straight at the pod's port, as an unmeshed client of an open port would."""
    address = origin.address("origin")
    results = {}
    for name, (data, _) in {**REFUSED, **ACCEPTED}.items():
        answer, closed = exchange(address, 8080, data)
        results[name] = {"line": answer.split(b"\r\n")[0].decode("latin-1"), "closed": closed}
    wrong = judge(results, served(origin))
    assert not wrong, "\n" + "\n".join(wrong)


def test_outbound_refuses_what_is_not_http(origin):
    """From an application in a pod, by service name: its own proxy refuses."""
    out = origin.folder / "results.json"
    pod = origin.run("raw", [PYTHON, SUPPORT / "raw.py", "origin", "80", out])
    assert pod.wait(300) == 0, pod.log()
    wrong = judge(json.loads(out.read_text()), served(origin))
    assert not wrong, "\n" + "\n".join(wrong)
