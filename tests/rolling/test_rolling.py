"""A rolling restart of all instances under load loses no request and sends none twice."""
import collections
import json
import time

from support.mesh import PYTHON, SUPPORT

RATE = 60  # requests a second for each of four protocols: 240 together, half of the HTTP ones POSTs


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_id_exactly_once(mesh):
    """Three instances, one by one replaced: one stops as asked, one ignores SIGTERM, one is gone at once on it."""
    mesh.up()
    manners = ["finish", "ignore", "exit"]
    old = [mesh.origin(f"origin-{i}", on_term=how) for i, how in enumerate(manners)]
    for i in range(3):
        mesh.ready(f"origin-{i}")
    out = mesh.folder / "client.jsonl"
    client = mesh.run("client", [PYTHON, SUPPORT / "client.py", "--out", out, "--rate", RATE, "--http1", "origin:8080",
                                 "--h2", "origin:8081", "--grpc", "origin:8082", "--tcp", "origin:8083"])
    mesh.wait(f"{RATE} answers before the first restart", lambda: len(read(out)) >= RATE, 20)
    stops = []
    for i, process in enumerate(old):
        mesh.origin(f"origin-new-{i}", on_term=manners[i])
        mesh.ready(f"origin-new-{i}")
        before = time.monotonic()
        process.signal(15)
        process.wait(40)
        stops.append(time.monotonic() - before)
        answered = len(read(out))
        mesh.wait("load goes on after a stop", lambda: len(read(out)) >= answered + RATE, 20)
    client.signal(15)
    assert client.wait(30) == 0, client.log()

    records = read(out)
    served = collections.Counter(tuple(line.split()[:2]) for line in (mesh.folder / "origin.ids").read_text().splitlines())
    sent = {(r["protocol"], r["id"]) for r in records}
    failed = [r for r in records if not r["ok"]]
    twice = [key for key, n in served.items() if n > 1]
    never = [key for key in sent if key not in served]
    for protocol in ("http1", "h2", "grpc", "tcp"):
        mine = [r for r in records if r["protocol"] == protocol]
        print(f"{protocol}: {len(mine)} sent, {sum(r['ok'] for r in mine)} answered, "
              f"{sum(not r['ok'] for r in mine)} lost, {sum(k[0] == protocol for k in twice)} twice")
        assert len(mine) >= 4 * RATE, f"{protocol}: too few requests to say anything"
    print("stops took", ", ".join(f"{how} {s:.1f} s" for how, s in zip(manners, stops)))
    assert not failed, f"{len(failed)} failed, the first: {failed[:5]}"
    assert not twice, f"served twice: {twice[:10]}"
    assert not never, f"answered but never served: {never[:10]}"
    instances = {r["instance"] for r in records if r["protocol"] == "http1"}
    assert instances >= {f"origin-{i}" for i in range(3)} and any("new" in i for i in instances), f"seen: {instances}"
