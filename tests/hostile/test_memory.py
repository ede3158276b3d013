"""A proxy whose memory runs short ends the connections that hold most, and no other."""
import re

import pytest
from pods import ENV, PORTS, SANITIZED, Lab
from support.mesh import Mesh, wait_until

LIMIT = 32 << 20  # a proxy with a sanitizer is above it from the start: who holds much is shed all the same
SECONDS = 3


@pytest.fixture(scope="module")
def small(binaries, tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("memory")) as mesh:
        yield Lab(mesh, {**ENV, "TULLE_PROXY_MEMORY_LIMIT": str(LIMIT)})
        mesh.show_logs(15)


@pytest.mark.parametrize("where", ["outside", "lab"])
def test_the_largest_are_shed(small, where):
    who = "victim" if where == "outside" else "lab"
    assert small.metrics(who)["tulle_memory_limit_bytes"] == LIMIT
    assert small.honest(where, 1)()["errors"] == [] and small.shed(who) == 0, "nothing is shed while there is room"
    attack = small.start(where, "attack", "many_zero_windows", small.host(where), PORTS["large-h2"], small.host(where), SECONDS)
    honest = small.honest(where, SECONDS)
    wait_until("something is shed", lambda: small.shed(who) > 0, SECONDS)
    if not SANITIZED:
        wait_until("memory is below the limit", lambda: small.memory(who) < LIMIT, 2)
    peer, attacked = honest(), attack()
    print(where, peer, attacked, small.shed(who), small.memory(who) >> 20)
    assert peer["errors"] == [] and peer["answered"] == peer["asked"], peer
    assert 0 < small.shed(who) <= attacked["connections"] and attacked["ended"] > 0
    if not SANITIZED:
        wait_until("memory comes back", lambda: small.memory(who) < 0.9 * LIMIT, 4, every=0.1)
    lines = re.findall(r"connection ended for what it held in memory direction=(\w+) client=(\S+:\d+) bytes=(\d+)", small.mesh.process(who).log())
    lines = [x for x in lines if x[0] == ("inbound" if where == "outside" else "outbound")]
    # After five of a kind the log leaves lines out, see docs/logging.md.
    assert min(small.shed(who), 5) <= len(lines) <= small.shed(who), lines
    assert SANITIZED or all(int(x[2]) > 1 << 20 for x in lines), lines
