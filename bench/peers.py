"""The pairs that are compared: each puts an outbound and an inbound proxy between one client and one server, with
mutual TLS (P-256, TLS 1.3) and HTTP/2 between the two, one worker each, no access logs."""
import contextlib
import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/shop"))

import configs  # noqa: E402
import envoy  # noqa: E402
import mesh as meshes  # noqa: E402
import procs  # noqa: E402
from baseline import listening  # noqa: E402
from machine import LOAD_CPU, PROXY_CPU, family, memory_mb, pin  # noqa: E402
from shop import free_loopback  # noqa: E402

PORTS = {"http1": configs.HTTP1, "http2": configs.HTTP2, "unary": configs.HTTP2, "stream": configs.HTTP2,
         "push": configs.TCP, "hold": configs.TCP, "connect": configs.TCP, "connect_full": configs.TCP_FULL}


class Direct:
    """No proxy: the client speaks to the server. The other peers put a pair in between by `commands`."""
    name = "none"
    protocols = set(PORTS)
    may_fail = False  # a row that does not work with it is left out

    def __init__(self, folder, certs, binaries, connections):
        self.folder = folder / self.name.replace(" ", "-")
        (self.folder / "www").mkdir(parents=True)
        (self.folder / "www/100k").write_text("x" * 100 * 1024)
        self.binaries = binaries
        self.programs = procs.Processes(self.folder)
        self.values = {"dir": self.folder, "certs": certs, "address": free_loopback(), "temp": configs.TEMP.format(dir=self.folder),
                       "connections": connections + 200}
        self.proxies = []
        self.failed = set()  # of the rows, if it may

    def write(self, file, template, **more):
        path = self.folder / file
        path.write_text(template.format(**{**self.values, **more}))
        return path

    def nginx(self, name, template, **more):
        return ["/usr/sbin/nginx", "-e", "stderr", "-p", self.folder, "-c", self.write(f"{name}.conf", template, name=name, **more)]

    def commands(self):
        """Of the outbound and of the inbound proxy; none here."""
        return []

    def wait_for(self, ports, seconds=15):
        for port in ports:
            procs.wait_until(f"{self.name}: {self.values['address']}:{port} listens", lambda p=port: listening(self.values["address"], p), seconds)

    def serve(self, tcp=8082):
        """Starts the server; its two programs."""
        programs = [self.programs.start("origin", self.nginx("origin", configs.ORIGIN, body="x" * 1024)),
                    self.programs.start("more", [self.binaries / "bench_origin", self.values["address"], 8081, tcp])]
        self.wait_for([8080, 8081, tcp])
        return programs

    def start(self):
        server = self.serve()
        self.running = []
        for name, command in zip(("out", "in"), self.commands()):
            self.running.append(self.programs.start(name, command))
        if self.running:
            self.wait_for([8000, 8443])
        self.find_proxies()
        for program in server:
            pin(family(program.pid), LOAD_CPU)

    def find_proxies(self):
        self.load("http1", 0.2, 4, 100)  # what starts workers late has started them after this
        self.proxies = [family(p.pid) for p in self.running]
        for pids in self.proxies:
            pin(pids, PROXY_CPU)

    def proxies_of(self, what):
        """The proxies on the way of a load: the pids of each."""
        return self.proxies

    def place(self, what):
        """(host, port) where the client finds it."""
        return self.values["address"], PORTS[what][0 if self.commands() else 2]

    def words(self, what, *rest):
        return [str(w) for w in (what.removesuffix("_full"), *self.place(what), *rest)]

    def send(self, words):
        """Starts the load generator; what it prints can be read from the answer."""
        command = ["taskset", "-c", str(LOAD_CPU), str(self.binaries / "bench_loadgen"), *words]
        return subprocess.Popen(command, text=True, stdout=subprocess.PIPE).stdout

    def load(self, what, *rest):
        """Runs the load generator to its end; its answer."""
        with self.send(self.words(what, *rest)) as out:
            return self.answer(out.read())

    def answer(self, text):
        if not text:
            raise SystemExit(f"bench: {self.name}: the load ended early: {self.why()}")
        return json.loads(text)

    def why(self):
        return "its error is above"

    @contextlib.contextmanager
    def holding(self, connections, seconds=2):
        """Inside, so many connections are open and idle."""
        with self.send(self.words("hold", seconds, connections)) as out:
            self.answer(out.readline())
            yield
            out.read()

    def memory(self):
        return [memory_mb(pids) for pids in self.proxies]

    def start_to_ready_ms(self):
        """Starts the outbound proxy anew: from exec until it accepts. Ends the one that runs."""
        self.running[0].stop()
        begun = time.monotonic()
        self.running[0] = self.programs.start("out", ["taskset", "-c", str(PROXY_CPU), *self.commands()[0]])
        while not listening(self.values["address"], 8000):
            if time.monotonic() - begun > 15:
                raise SystemExit(f"bench: {self.name} does not start again: {procs.tail(self.running[0].log())}")
            time.sleep(0.0002)  # what is timed here: looked at often
        return (time.monotonic() - begun) * 1000

    def stop(self):
        self.programs.stop()


class Envoy(Direct):
    name = "envoy"

    def __init__(self, *words):
        self.program = envoy.obtain()
        super().__init__(*words)

    def commands(self):
        out = []
        for number, (name, value) in enumerate(zip(("out", "in"), envoy.configurations(self.values["address"], self.values["certs"]))):
            (self.folder / f"{name}.json").write_text(json.dumps(value))
            out.append([self.program, "--config-path", self.folder / f"{name}.json", "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"])
        return out


class HAProxy(Direct):
    name = "haproxy"

    def commands(self):
        return [["haproxy", "-db", "-f", self.write("out.cfg", configs.HAPROXY_OUT)], ["haproxy", "-db", "-f", self.write("in.cfg", configs.HAPROXY_IN)]]


class Nginx(Direct):
    """HTTP/1.1 between the two: it speaks no HTTP/2 to upstreams, and Debian's nginx-light no raw TCP."""
    name = "nginx"
    protocols = {"http1"}

    def commands(self):
        return [self.nginx("out", configs.NGINX_OUT), self.nginx("in", configs.NGINX_IN)]


SERVICES = """apiVersion: v1
kind: Service
metadata: {name: origin, namespace: default}
spec:
  selector: {app: origin}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: h2, port: 81, targetPort: h2}
  - {name: redis, port: 6379, targetPort: redis}
"""


class Tulle(Direct):
    """Ours, by its own commands: `tulle up` and two `tulle run`, interception included. The load runs inside a pod, fed
    through a pair of FIFOs. Port 6379 is opaque by default. connect_full is the load of a further client, whose proxy
    resumes no sessions."""
    name = "tulle"
    proxy = None  # another program for `tulle run --proxy`
    environment = {}
    full_client = None

    def manifests(self):
        folder = self.folder / "manifests"
        folder.mkdir()
        (folder / "services.yaml").write_text(SERVICES)
        return folder

    def start(self):
        self.mesh = meshes.Mesh(f"bench-{self.name}-{os.getpid()}", self.folder, self.manifests())
        self.mesh.up()
        self.values["address"] = "0.0.0.0"
        nginx = shlex.join(str(w) for w in self.nginx("origin", configs.ORIGIN, body="x" * 1024))
        serve = f'"{self.binaries}/bench_origin" 0.0.0.0 8081 6379 & exec {nginx}'
        origin = self.pod("origin", serve, "--label", "app=origin", "--port", "http=8080", "--port", "h2=8081", "--port", "redis=6379")
        self.client = self.load_pod("client")
        self.mesh.ready("origin")
        self.mesh.ready("client")
        self.running = [self.client, origin]
        self.find_proxies()

    def pod(self, name, shell, *words, **more):
        proxy = ["--proxy", self.proxy] if self.proxy else []
        environment = {"TULLE_PROXY_MAX_CONNECTIONS": "20000", **self.environment, **more}
        return self.mesh.start_pod(name, name, ["sh", "-c", shell], *proxy, *words, env=environment)

    def load_pod(self, name, **more):
        """A pod that runs the load generator with each line written to NAME.orders, into NAME.answers."""
        orders, answers = self.folder / f"{name}.orders", self.folder / f"{name}.answers"
        os.mkfifo(orders)
        os.mkfifo(answers)
        return self.pod(name, f'while read -r words <"{orders}"; do "{self.binaries}/bench_loadgen" $words >"{answers}"; done', **more)

    def find_proxies(self):
        self.proxies = [self.pinned(process) for process in self.running]
        self.load("http1", 0.2, 1, 10)

    def pinned(self, process):
        """The proxy of a pod; it has a CPU, the rest of the pod the other."""
        all_of_it = family(process.pid)
        proxy = [p for p in all_of_it if self.is_proxy(p)]
        pin(set(all_of_it) - set(proxy), LOAD_CPU)
        pin(proxy, PROXY_CPU)
        return proxy

    def proxies_of(self, what):
        if not what.endswith("_full"):
            return self.proxies
        if not self.full_client:
            process = self.load_pod("client-full", TULLE_PROXY_TLS_RESUMPTION="false")
            self.mesh.ready("client-full")
            self.full_client = self.pinned(process)
        return [self.full_client, self.proxies[1]]

    def is_proxy(self, pid):
        name = os.path.basename(self.proxy or "tulle-proxy")
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]

    def place(self, what):
        return "origin", {8000: 80, 8001: 81}.get(PORTS[what][0], 6379)

    def load(self, what, *rest):
        self.proxies_of(what)  # has them started
        with self.send(self.words(what, *rest), "client-full" if what.endswith("_full") else "client") as out:
            return self.answer(out.read())

    def send(self, words, client="client"):
        (self.folder / f"{client}.orders").write_text(" ".join(words) + "\n")
        return open(self.folder / f"{client}.answers")

    def start_to_ready_ms(self):
        return second_start_ms(self.name, self.proxy or meshes.BIN / "tulle-proxy", self.proxies[0][0])

    def why(self):
        return procs.tail(self.client.log(), 5)

    def stop(self):
        self.mesh.stop()


def second_start_ms(name, program, pid):
    """Starts a proxy beside the one with that pid, with its settings but for addresses and for the pod: from exec until
    /ready says so, which includes its certificate."""
    text = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode()
    env = {k: v for k, _, v in (line.partition("=") for line in text.split("\0")) if k and not k.startswith("TULLE_PROXY_POD_")}
    host = free_loopback()
    env |= {f"LINKERD2_PROXY_{kind}_LISTEN_ADDR": f"{host}:{port}" for kind, port in (("OUTBOUND", 4140), ("INBOUND", 4143), ("ADMIN", 4191))}
    begun = time.monotonic()
    process = subprocess.Popen(["taskset", "-c", str(PROXY_CPU), program], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not ready(host):
            if process.poll() is not None or time.monotonic() - begun > 15:
                raise SystemExit(f"bench: {name}: a second proxy does not become ready")
            time.sleep(0.0002)  # what is timed here: looked at often
        return (time.monotonic() - begun) * 1000
    finally:
        process.kill()
        process.wait()


def ready(host):
    with socket.socket() as probe:
        if probe.connect_ex((host, 4191)) != 0:
            return False
        probe.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b" 200 " in probe.recv(64)


ALL = {p.name: p for p in (Direct, Envoy, HAProxy, Nginx, Tulle)}
