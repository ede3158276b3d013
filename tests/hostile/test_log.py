"""Whoever makes connections by the thousand does not fill the disk: what the proxies write about it is bounded, and says
how much was left out."""
import re

import pytest
from attacks import Target, first_words
from pods import ENV, Lab
from support.mesh import Mesh, wait_until

DEAD = 8099  # nothing listens there
IDENTITY = "default.default.serviceaccount.identity.linkerd.cluster.local"
CONNECTIONS = 1000
MOST = 10_000  # bytes of log


@pytest.fixture(scope="module")
def talkative(binaries, tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("log")) as mesh:
        yield Lab(mesh, {**ENV, "LINKERD2_PROXY_LOG": "info"}, flags=["--port", f"dead={DEAD}", "--ready-path", "/"])
        mesh.show_logs(15)


def written(lab, who):
    return lab.mesh.process(who).log()


@pytest.mark.parametrize("first", range(len(first_words(Target("", 0, "x", 0)))))
@pytest.mark.parametrize("where", ["outside", "lab"])
def test_a_flood_of_connections_that_fail(talkative, where, first):
    before = {who: len(written(talkative, who)) for who in ("victim", "lab")}
    authority = IDENTITY if where == "outside" else "victim"
    seen = talkative.start(where, "attack", "broken_connections", talkative.host(where), DEAD, authority, 1, first, CONNECTIONS)()
    assert seen["connections"] == CONNECTIONS, seen
    for who, at in before.items():
        text = written(talkative, who)[at:]
        print(where, first, who, len(text), text[-300:])
        assert len(text) < MOST, text[:2000]


def test_what_was_left_out_is_said(talkative):
    assert written(talkative, "victim").count(" WARN application unreachable") >= 5
    left_out = re.compile(r'and more like it message="?([^"]*)"? lines=(\d+)')
    seen = {}

    def said():
        for who in ("victim", "lab"):
            for message, lines in left_out.findall(written(talkative, who)):
                seen[who, message] = int(lines)
        return {("victim", "application unreachable"), ("victim", "TLS handshake failed")} <= set(seen)
    wait_until("it is said", said, 15, every=0.2)
    print(seen)
    assert seen["victim", "application unreachable"] > CONNECTIONS / 2
