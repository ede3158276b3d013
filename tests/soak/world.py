"""The mesh of a soak: pods, their proxies as processes, the machine's clock as they see it, and the control plane."""
import contextlib
import mmap
import os
import pathlib
import re
import resource
import struct
import time
import urllib.request

from account import Excuse, Phase, Records
from relay import Relay
from support.control import Workload
from support.mesh import BIN, PYTHON, Mesh

HERE = pathlib.Path(__file__).resolve().parent
PORTS = "http1 h2 grpc tcp greet"
MANNERS = ["finish", "ignore", "exit"]  # what pods' programs do on SIGTERM
# What a proxy holds, and how much more it may hold in the end. Sockets made in stock for the pod are some descriptors more
# or less; buffers are counted to 64 KiB a thread.
GAUGES = {"tulle_open": 0, "tcp_open_connections": 0, "tulle_buffered_bytes": 128 * 1024, "process_open_fds": 8}
NOT_OPEN = ('kind="targets"',)


SHIFTED = BIN / "soak/tulle-proxy"  # its clock can be set; not built with sanitizers


class Clock:
    """What the programs' CLOCK_REALTIME says, as nanoseconds from the truth."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 8)

    def shift(self, seconds):
        self.map[:8] = struct.pack("<q", int(seconds * 1e9))


class SoakMesh(Mesh):
    """Its control plane preloads the clock."""

    def __init__(self, folder, lifetime):
        super().__init__(folder)
        self.clock, self.lifetime = Clock(self.folder / "clock"), lifetime
        self.clock_env = {"TULLE_PROXY_SOAK_CLOCK": str(self.clock.path)}

    def up(self, *words, foreground=False, prometheus=False):
        preload = {"LD_PRELOAD": str(BIN / "soak/soak_clock.so")} if SHIFTED.exists() else {}
        with environment(**preload, **self.clock_env):
            super().up("--identity-lifetime", self.lifetime, foreground=foreground, prometheus=prometheus)


@contextlib.contextmanager
def environment(**more):
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class World:
    """Everything of one run. `stays`: the pods whose proxies live through it, and whose memory is compared."""

    stays = ("client", "stays")

    def __init__(self, folder, rng, rate, lifetime, max_refresh):
        self.mesh, self.rng, self.rate = SoakMesh(folder, lifetime), rng, rate
        self.folder = self.mesh.folder
        self.max_refresh = max_refresh
        self.others, self.made = [], 0
        self.phases, self.excuses, self.tick = [], [], lambda: None
        self.records = Records(self.folder / "load.jsonl")
        self.relay = None

    # --- Making it

    def start(self, others):
        self.mesh.__enter__()
        self.mesh.up()
        probe = Workload(self.mesh.name, "probe", "probe")
        host, _, port = probe.env["LINKERD2_PROXY_POLICY_SVC_ADDR"].rpartition(":")
        probe.close()
        self.relay = Relay(host, int(port))
        self.env = {f"LINKERD2_PROXY_{svc}_SVC_ADDR": self.relay.address for svc in ("POLICY", "DESTINATION", "IDENTITY")}
        self.env |= {"LINKERD2_PROXY_IDENTITY_MAX_REFRESH": self.max_refresh, "LINKERD2_PROXY_METRICS_RETAIN_IDLE": "5s", "PYTHONDONTWRITEBYTECODE": "1", **self.mesh.clock_env}
        self.origin("stays")
        self.others = [self.add() for _ in range(others)]
        for name in ("stays", *self.others):
            self.mesh.ready(name)
        self.client = self.mesh.start_pod("client", "client", [PYTHON, HERE / "load.py", "--out", self.records.path, "--host",
                                                               "origin", "--rate", self.rate], *self.proxy_flags(), env=self.env)

    def proxy_flags(self):
        return "--proxy", SHIFTED if SHIFTED.exists() else BIN / "tulle-proxy", "--grace", "10s"

    def origin(self, name, manner="finish"):
        with environment(**self.env):
            return self.mesh.origin(name, "origin", *self.proxy_flags(), on_term=manner, ports=PORTS)

    def add(self):
        """A new pod that serves; its name. Does not wait."""
        self.made += 1
        name = f"origin-{self.made}"
        self.origin(name, MANNERS[self.made % len(MANNERS)])
        return name

    def remove(self, name):
        """As asked, gently; waits until it is gone."""
        self.others.remove(name)
        process = self.mesh.process(name)
        process.signal(15)
        self.until(f"{name} has ended", lambda: not process.running(), 40)

    def close(self):
        self.mesh.clock.shift(0)
        if self.relay:
            self.relay.set("pass")
        self.mesh.__exit__()
        if self.relay:
            self.relay.close()

    # --- Time

    @contextlib.contextmanager
    def phase(self, name):
        phase = Phase(name, time.monotonic())
        if self.phases:
            self.phases[-1].end = min(self.phases[-1].end, phase.begin)
        self.phases.append(phase)
        yield phase

    def end_phases(self):
        self.phases[-1].end = min(self.phases[-1].end, time.monotonic())

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.tick()
            time.sleep(min(left, 0.2))

    def until(self, what, condition, seconds):
        def looked():
            self.tick()
            return condition()
        return self.mesh.wait(what, looked, seconds, every=0.1)

    @contextlib.contextmanager
    def excuse(self, why, after=0.0, **which):
        """Whatever fails inside, and for `after` seconds then, may."""
        one = Excuse(why, time.monotonic(), float("inf"), **which)
        self.excuses.append(one)
        try:
            yield one
        finally:
            one.end = time.monotonic() + after

    # --- Looking

    def proxy(self, name):
        return self.mesh.proxy_pid(name)

    def metrics(self, name):
        with urllib.request.urlopen(f"http://{self.address(name)}:4191/metrics", timeout=10) as answer:
            return answer.read().decode()

    def address(self, name):
        self.addresses = getattr(self, "addresses", {})
        if name not in self.addresses:
            self.addresses[name] = self.mesh.address(name)
        return self.addresses[name]

    def look(self, name):
        """What a proxy holds: {"rss": bytes, "pid": …, gauge: sum, "bugs": …, "renewals": …}."""
        text, pid = self.metrics(name), self.proxy(name)
        (self.folder / f"{name}-{len(self.phases)}.metrics").write_text(text)
        out = {"pid": pid, "rss": rss(pid), "bugs": total(text, "tulle_bugs_total"),
               "renewals": total(text, "control_identity_cert_refreshes_total", 'result="ok"')}
        for gauge in GAUGES:
            out[gauge] = total(text, gauge, without=NOT_OPEN)
        return out

    def quiet(self, least):
        """No traffic, nothing in flight; waits until what proxies hold stands still, but `least` seconds. {name: look}."""
        seen = self.records.read().quiet
        self.client.signal(10)
        self.until("the load is quiet", lambda: self.records.read().quiet > seen, 45)
        last, since, begin = None, time.monotonic(), time.monotonic()
        while True:
            now = {name: self.look(name) for name in self.stays}
            held = {n: {k: v for k, v in x.items() if k in GAUGES and k != "process_open_fds"} for n, x in now.items()}
            if held != last:
                last, since = held, time.monotonic()
            if time.monotonic() - since > 3 and time.monotonic() - begin > least or time.monotonic() - begin > least + 30:
                return now
            self.sleep(1)

    def loud(self):
        self.client.signal(12)


def total(text, name, label="", without=()):
    """The sum of a family's series, with a label, where one is asked for."""
    out = 0.0
    for line in text.splitlines():
        m = re.match(rf"{name}(?:_total)?(\{{[^}}]*\}})? (\S+)", line)
        if m and label in (m.group(1) or "") and not any(w in (m.group(1) or "") for w in without):
            out += float(m.group(2))
    return out


def rss(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1)) * 1024


def fds(pid):
    """The numbers of a process's open descriptors."""
    return [int(p.name) for p in pathlib.Path(f"/proc/{pid}/fd").iterdir()]


def limit_fds(pid, soft):
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard if soft is None else min(soft, hard), hard))
