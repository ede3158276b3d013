"""Two pods to attack: `victim` with the origins, whose inbound proxy is attacked from outside, and `lab`, whose outbound
proxy is attacked from inside. Beside them their twins, `twin` and `quiet`, which nobody attacks: what their honest client
sees in the same moment is what the machine can give."""
import json
import os
import pathlib
import re
import secrets
import subprocess
import urllib.request

from procs import SCALE
from support.mesh import PYTHON, wait_until

HERE = pathlib.Path(__file__).resolve().parent
RATE = 100
PORTS = {"honest": 8080, "h2": 8081, "large-h2": 8082, "h1": 8083, "large-h1": 8084, "slow-h2": 8085, "sink": 8086, "deaf-h2": 8087}
# What a sanitizer's allocator keeps resident does not tell what a proxy holds: small bounds are judged without one.
SANITIZED = SCALE > 1
ENV = {"TULLE_PROXY_HTTP_HEADER_TIMEOUT": "1s", "LINKERD2_PROXY_INBOUND_DETECT_TIMEOUT": "1s", "LINKERD2_PROXY_OUTBOUND_DETECT_TIMEOUT": "1s"}


class Outside:
    """A command line of lab.py that runs: calling it waits for its result."""

    def __init__(self, words):
        self.words = [str(w) for w in words]
        self.child = subprocess.Popen([PYTHON, "-B", HERE / "lab.py", *self.words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def is_over(self):
        return self.child.poll() is not None

    def text(self):
        return self.child.communicate(timeout=60)[0]

    def __call__(self):
        text = self.text()
        try:
            return json.loads(text.splitlines()[-1])
        except (IndexError, ValueError):
            raise AssertionError(f"lab.py {self.words}: {text}") from None


class Inside(Outside):
    """The same in a pod, by its agent."""

    def __init__(self, folder, words):
        self.words = [str(w) for w in words]
        path = folder / secrets.token_hex(8)
        path.with_suffix(".new").write_text(json.dumps(self.words))
        path.with_suffix(".new").rename(path.with_suffix(".ask"))
        self.done = path.with_suffix(".done")

    def is_over(self):
        return self.done.exists()

    def text(self):
        wait_until(f"lab.py {self.words} ends", self.is_over, 60)
        return self.done.read_text()


class Lab:
    def __init__(self, mesh, env=ENV, twins=False, flags=()):
        self.mesh = mesh
        self.prefix = mesh.folder / "served"
        self.agents = {"lab": mesh.folder / "asked", **({"quiet": mesh.folder / "asked-quiet"} if twins else {})}
        mesh.up()
        flags = [*(w for name, port in PORTS.items() for w in ("--port", f"{name}={port}")), *flags]
        for name in ["victim", "twin"] if twins else ["victim"]:
            prefix = self.prefix if name == "victim" else mesh.folder / "served-twin"
            mesh.start_pod(name, name, [PYTHON, "-B", HERE / "lab.py", "serve", prefix], *flags, env=env)
        for name, folder in self.agents.items():
            folder.mkdir()
            mesh.start_pod(name, name, [PYTHON, "-B", HERE / "lab.py", "agent", folder], env=env)
        self.address = {}
        for name in ["victim", *self.agents, *(["twin"] if twins else [])]:
            mesh.ready(name)
            self.address[name] = mesh.address(name)
        self.pid = {name: mesh.proxy_pid(name) for name in ("victim", "lab")}

    def memory(self, who):
        text = pathlib.Path(f"/proc/{self.pid[who]}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def metrics(self, who):
        """Series by their text."""
        with urllib.request.urlopen(f"http://{self.address[who]}:4191/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {k: float(v) for k, _, v in (x.rpartition(" ") for x in lines if x and not x.startswith("#"))}

    def sum(self, who, series):
        """Of all series whose text this pattern fits."""
        return sum(v for k, v in self.metrics(who).items() if re.match(series, k))

    def shed(self, who):
        """Connections that the proxy has ended for want of memory."""
        return sum(v for k, v in self.metrics(who).items() if k.startswith("tulle_limit_refused_total") and 'kind="memory"' in k)

    def ended(self, who):
        """Connections that the proxy has ended because of what came on them, by reason."""
        found = {}
        for text, value in self.metrics(who).items():
            if m := re.match(r'tulle_http_connections_refused_total\{.*reason="([^"]*)"', text):
                found[m[1]] = found.get(m[1], 0) + value
        return found

    def served(self):
        path = pathlib.Path(f"{self.prefix}.attacked")
        return int(path.read_text()) if path.exists() else 0

    def start(self, where, *words):
        """Starts a command line of lab.py, outside or in a pod."""
        return Outside(words) if where == "outside" else Inside(self.agents[where], words)

    def honest(self, where, seconds):
        return self.start(where, "honest", self.host(where), PORTS["honest"], seconds, RATE)

    def honest_twin(self, where, seconds):
        outside = where == "outside"
        return self.start("outside" if outside else "quiet", "honest", self.address["twin"] if outside else "twin", PORTS["honest"], seconds, RATE)

    def host(self, where):
        return self.address["victim"] if where == "outside" else "victim"
