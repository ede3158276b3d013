"""Proxies that stop."""
import os
import re
import signal

from support.mesh import PYTHON

# Many requests at once, then twelve more when one of two proxies has stopped.
ASKS = """
import concurrent.futures, http.client, time
def get(_):
    start = time.time()
    c = http.client.HTTPConnection("origin", 8080, timeout=60)
    c.request("GET", "/id")
    r = c.getresponse(); r.read()
    return r.status, round(time.time() - start, 1)
pool = concurrent.futures.ThreadPoolExecutor(12)
print("warm", sorted(pool.map(get, range(40)))[-1], flush=True)
open("STOPPED").read()
print("stopped", sorted(pool.map(get, range(12)), key=lambda a: a[1]), flush=True)
"""


def test_a_proxy_that_stops_is_given_up(mesh):
    """Its connections are asked every 10 s and given up after 3 s more (Linkerd's settings of meshed endpoints)."""
    mesh.up()
    for name in ("origin-1", "origin-2"):
        mesh.origin(name, ports="http1")
    for name in ("origin-1", "origin-2"):
        mesh.ready(name)
    stopped = mesh.folder / "stopped"
    os.mkfifo(stopped)
    pod = mesh.run("client", [PYTHON, "-c", ASKS.replace("STOPPED", str(stopped))])
    mesh.wait("a first round of answers", lambda: "warm (200" in pod.log(), 20)
    pid = mesh.proxy_pid("origin-1")
    os.kill(pid, signal.SIGSTOP)
    try:
        stopped.write_text("now")
        assert pod.wait(60) == 0, pod.log()
    finally:
        os.kill(pid, signal.SIGCONT)
    answers = [(int(s), float(t)) for s, t in re.findall(r"\((\d+), ([\d.]+)\)", pod.log().partition("stopped ")[2])]
    assert len(answers) == 12, pod.log()
    assert all(status in (200, 504) for status, _ in answers), answers
    assert any(status == 200 and took < 5 for status, took in answers), answers
    assert all(took < 25 for _, took in answers), answers
