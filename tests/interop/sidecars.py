"""Proxies as sidecars of Linkerd's kind: configured by LINKERD2_PROXY_* alone, in the network namespace of their
workload, behind a redirection that spares the proxies themselves. Any proxy of that environment can take a side.

All of it lives in one network namespace that the fixture makes, control plane included: a pod is an address, and which
proxy a packet belongs to is told by the group of who sends it. Making it needs root. Pods are not in 127.0.0.0/8, as
linkerd2-proxy connects to no loopback address.
"""
import ctypes
import http.client
import os
import pathlib
import subprocess

from procs import wait_until
from support.control import Workload
from support.mesh import BIN, Mesh

CLONE_NEWNET = 0x40000000
PODS = "10.64.0.0/16"
PORTS = "{ 6379, 8080-8084 }"
SPARED = {"client": 40102, "server": 40103}  # groups; whose packets are not redirected
RULES = """
table ip sidecars
delete table ip sidecars
table ip sidecars {{
  chain output {{
    type nat hook output priority -100;
    meta skgid {spared[server]} return comment "the server's proxy reaches its application"
    meta skgid != {spared[client]} ip daddr 127.96.0.0/11 tcp dport != 53 redirect to :{outbound}
    {inbound}
  }}
}}
"""


class Namespace:
    """This thread, and what it starts, in a network namespace of their own while the context lasts. When it is entered
    again, it is the same namespace."""

    HERE = "/proc/thread-self/ns/net"

    def __init__(self):
        self.made, self.before = None, []

    def __enter__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        self.before.append(open(self.HERE))
        if self.made:
            if libc.setns(self.made.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            return self
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self.made = open(self.HERE)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["ip", "route", "add", "local", PODS, "dev", "lo"], check=True)
        return self

    def __exit__(self, *_):
        with self.before.pop() as before:
            ctypes.CDLL(None).setns(before.fileno(), CLONE_NEWNET)

    @staticmethod
    def redirect(servers, outbound):
        """Traffic to services goes to `outbound`, that to a server's ports to its proxy. Replaces what was, at once."""
        inbound = "\n    ".join(f"ip daddr {s.address} tcp dport {PORTS} dnat to {s.address}:4143" for s in servers)
        subprocess.run(["nft", "-f", "-"], input=RULES.format(spared=SPARED, outbound=outbound, inbound=inbound), text=True, check=True)


class SidecarMesh(Mesh):
    """A mesh of pods in PODS. `tulle up` makes none like that, as `tulle run` could make no such pod."""

    def up(self, *words, **_):
        runtime = pathlib.Path(f"/tmp/tulle-{os.getuid()}") / self.name
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.control = self.processes.start("up", [
            BIN / "tulle-control", "--mesh", self.name, "--state-dir", self.folder / "state", "--manifests", self.manifests,
            "--socket", runtime / "control.sock", "--pod-network", PODS, *words])
        self.words = words
        wait_until("the control plane answers", self.answers, 20)

    def kill_control(self):
        self.control.kill()

    def up_again(self):
        self.processes.all.remove(self.control)
        self.up(*self.words)


class Sidecar:
    """A registered workload and the proxy beside it. `side`: client or server; `change` may have its way with the proxy's
    environment."""

    count = 0

    def __init__(self, mesh, binary, side, service, name, ports=None, change=None):
        Sidecar.count += 1
        self.mesh, self.side, self.service, self.name, self.ports = mesh, side, service, name, ports or {}
        self.workload = Workload(mesh.name, service, name, self.ports, {"app": service})
        self.address, self.outbound = self.workload.address, 5140 + Sidecar.count
        env = {k: v for k, v in self.workload.env.items() if k.startswith("LINKERD2_PROXY_")}
        env |= {"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR": f"127.0.0.1:{self.outbound}", "LINKERD2_PROXY_IDENTITY_DIR": str(self.identity_folder())}
        self.process = mesh.processes.start(f"proxy-{name}", ["setpriv", f"--regid={SPARED[side]}", "--clear-groups", binary], change(env) if change else env)

    def identity_folder(self):
        """The key and the request for a certificate that Linkerd's init makes before its proxy starts."""
        folder = self.mesh.folder / f"identity-{self.name}"
        folder.mkdir()
        name = self.workload.env["LINKERD2_PROXY_IDENTITY_LOCAL_NAME"]
        for words in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem", "-subj", "/",
                       "-addext", f"subjectAltName=DNS:{name}", "-outform", "DER", "-out", folder / "csr.der"],
                      ["pkcs8", "-topk8", "-nocrypt", "-in", folder / "key.pem", "-outform", "DER", "-out", folder / "key.p8"]):
            subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
        return folder

    def admin(self, path):
        """What it answers with 200, else None. Asked from loopback, which the policy of that port lets in."""
        connection = http.client.HTTPConnection(self.address, 4191, timeout=5, source_address=("127.0.0.1", 0))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            return body if answer.status == 200 else None
        except OSError:
            return None
        finally:
            connection.close()

    def ready(self):
        wait_until(f"the proxy of {self.name} is ready", lambda: self.admin("/ready") is not None or not self.process.running(), 20)
        assert self.process.running(), f"the proxy of {self.name} has ended: {self.process.log()}"
        if self.ports:
            self.workload.ready()
        return self

    def register_again(self):
        """After its control plane was restarted, as `tulle run` does."""
        held = self.workload
        wait_until("the control plane takes registrations", lambda: self.registered(held), 10)
        if self.ports:
            self.workload.ready()

    def registered(self, held):
        try:
            self.workload = Workload(self.mesh.name, self.service, self.name, self.ports, {"app": self.service}, address=held.address)
        except (OSError, AssertionError):
            return False
        return True

    def metric(self, name, *labels, but=None):
        """The sum of the series of that name that have all `labels`, and not the label `but`."""
        text = self.admin("/metrics") or ""
        lines = (line for line in text.splitlines() if line.partition("{")[0] == name and all(label in line for label in labels) and not (but and but in line))
        return sum(float(line.rpartition(" ")[2]) for line in lines)


def own():
    """Our own proxy, run as anybody's would be."""
    return pathlib.Path(BIN) / "tulle-proxy"
