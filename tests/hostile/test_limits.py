"""Limits of docs/limits.md that are of the process or of a port, on two pods that set them low."""
import re
import socket

import pytest
from attacks import client_hello
from lab import large_head
from pods import ENV, PORTS, SANITIZED, Lab
from support.mesh import Mesh, wait_until

CONNECTIONS, REQUESTS = 40, 30
HEADERS = 131072
SET = {**ENV, "TULLE_PROXY_MAX_CONNECTIONS": str(CONNECTIONS), "LINKERD2_PROXY_INBOUND_MAX_IN_FLIGHT": str(REQUESTS),
       "LINKERD2_PROXY_OUTBOUND_MAX_IN_FLIGHT": str(REQUESTS), "TULLE_PROXY_HTTP_HEADER_LIMIT_PORTS": f"{PORTS['h1']}={HEADERS}"}


@pytest.fixture(scope="module")
def low(binaries, tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("low")) as mesh:
        yield Lab(mesh, SET)
        mesh.show_logs(15)


def who_is_attacked(where):
    return ("victim", "inbound") if where == "outside" else ("lab", "outbound")


def counted(lab, who, direction, kind, family="tulle_limit_refused_total"):
    return sum(v for k, v in lab.metrics(who).items() if re.match(rf'{family}\{{.*direction="{direction}",kind="{kind}"', k))


@pytest.mark.parametrize("where", ["outside", "lab"])
def test_connections_above_the_limit_are_closed_at_once(low, where):
    who, direction = who_is_attacked(where)
    before = counted(low, who, direction, "connections")
    seen = low.start(where, "attack", "many_connections", low.host(where), PORTS["h1"], low.host(where), 0.5)()
    assert CONNECTIONS - 5 <= seen["open"] <= CONNECTIONS, seen
    assert counted(low, who, direction, "connections") - before == seen["refused"] == 60 - seen["open"]
    wait_until("they are gone", lambda: counted(low, who, direction, "connections", "tulle_open") < 5, 5)
    assert low.honest(where, 0.5)()["errors"] == [], "and others can come"


@pytest.mark.parametrize("where", ["outside", "lab"])
def test_requests_above_the_limit_are_answered_503(low, where):
    who, direction = who_is_attacked(where)
    before = counted(low, who, direction, "requests")
    seen = low.start(where, "attack", "many_requests", low.host(where), PORTS["large-h2"], low.host(where), 1)()
    assert seen["refused"] == 60 - seen["open"] and REQUESTS - 5 <= seen["open"] <= REQUESTS, seen
    assert counted(low, who, direction, "requests") - before >= seen["refused"]
    wait_until("they are gone", lambda: counted(low, who, direction, "requests", "tulle_open") < 5, 5)
    assert low.honest(where, 0.5)()["errors"] == []


def test_the_limit_of_a_head_is_one_of_the_port(low):
    """From outside, and through both proxies."""
    address = low.address["victim"]
    seen = {(name, size): large_head(address, PORTS[name], size) for name in ("h1", "honest") for size in (60_000, 120_000, 140_000)}
    assert seen == {("h1", 60_000): 200, ("h1", 120_000): 200, ("h1", 140_000): 431,
                    ("honest", 60_000): 200, ("honest", 120_000): 431, ("honest", 140_000): 431}
    for name, size, status in (("h1", 120_000, 200), ("h1", 140_000, 431), ("honest", 120_000, 431)):
        seen = low.start("lab", "head", "victim", PORTS[name], size)()
        assert seen == status, (name, size, seen)


@pytest.mark.parametrize("where", ["outside", "lab"])
def test_a_million_hosts_leave_memory_flat(low, where):
    """Fifty thousand here, each with a path and a user agent of its own."""
    who, _ = who_is_attacked(where)
    low.start(where, "attack", "many_hosts", low.host(where), PORTS["h2"], low.host(where), 1, 2000)()
    series, memory, served = len(low.metrics(who)), low.memory(who), low.served()
    seen = low.start(where, "attack", "many_hosts", low.host(where), PORTS["h2"], low.host(where), 1)()
    assert seen["answered"] == 50_000, seen
    wait_until("the origin has served them all", lambda: low.served() - served >= 50_000, 3)
    after = low.metrics(who)
    print(where, "series", series, len(after), "memory", memory >> 10, low.memory(who) >> 10)
    assert len(after) <= series + 5 and not [k for k in after if "example.com" in k]
    if not SANITIZED:
        wait_until("memory is as before", lambda: low.memory(who) < memory + (3 << 20), 3)


def test_nor_do_names_that_clients_ask_for_by_sni(low):
    """TLS that is not the mesh's passes through; the name in it is a label, of as many as a workload may serve."""
    hello, who, address = client_hello("host-0000.example.com"), "victim", low.address["victim"]

    def names():
        return {m[1] for k in low.metrics(who) if (m := re.search(r'sni="([^"]*)"', k))}
    memory = low.memory(who)
    for i in range(1000):
        with socket.create_connection((address, PORTS["h1"]), 5) as connection:
            connection.sendall(hello.replace(b"host-0000", b"host-%04d" % i))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    wait_until("all are counted", lambda: len(names()) == 257, 5)
    assert names() == {f"host-{i:04}.example.com" for i in range(256)} | {"tulle_overflow"}
    if not SANITIZED:
        wait_until("memory is as before", lambda: low.memory(who) < memory + (3 << 20), 3)
