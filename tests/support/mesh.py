"""The mesh of a test: that of examples/shop/mesh.py, and what only tests ask of it."""
import json
import os
import pathlib
import secrets
import signal
import tempfile
import textwrap

import mesh as meshes
import procs
from mesh import BIN
from procs import wait_until

PROGRAMS = ["tulle", "tulle-control", "tulle-proxy"]
PYTHON = "/usr/bin/python3"
SUPPORT = pathlib.Path(__file__).resolve().parent


def programs_missing():
    return [name for name in PROGRAMS if not os.access(BIN / name, os.X_OK)]


def service(name, port="http1", protocol=None):
    """The manifest of a Service: its port 80 is the port of that name of the pods with the label app=NAME."""
    words = f"name: {port}, port: 80, targetPort: {port}" + (f", appProtocol: {protocol}" if protocol else "")
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default}}
spec: {{selector: {{app: {name}}}, ports: [{{{words}}}]}}
"""


def server(name, port="http1", policy="all-unauthenticated", protocol="HTTP/1"):
    """The manifest of a Server: who may talk to the port of that name of the pods with the label app=NAME."""
    return f"""---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {{name: {name}, namespace: default}}
spec: {{podSelector: {{matchLabels: {{app: {name}}}}}, port: {port}, proxyProtocol: {protocol}, accessPolicy: {policy}}}
"""


class Mesh(meshes.Mesh):
    """One mesh with a random name. `folder` gets the manifests (`folder/manifests`) and the logs of all programs."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        (folder / "manifests").mkdir()
        super().__init__("t" + secrets.token_hex(4), folder, folder / "manifests")

    def __enter__(self):
        # Programs of a pod that change to another user must be able to pass through.
        for part in (self.folder, *self.folder.parents):
            if part.parent.is_relative_to(tempfile.gettempdir()) and part.stat().st_uid == os.getuid():
                part.chmod(0o711)
        return self

    def __exit__(self, *_):
        self.stop()

    @staticmethod
    def wait(what, condition, seconds, every=0.02):
        return wait_until(what, condition, seconds, every)

    def manifest(self, name, text):
        """Writes a manifest file, whole at once."""
        path = self.manifests / name
        new = path.with_suffix(".new")
        new.write_text(textwrap.dedent(text))
        new.rename(path)
        return path

    def run(self, service, command, *words, env=None):
        """A pod whose name is that of its service."""
        return self.start_pod(service, service, command, *words, env=env)

    def origin(self, name, service="origin", *words, on_term="finish", ports="http1 h2 grpc tcp"):
        """A pod of tests/support/origin.py that serves the given protocols, on 8080 to 8084."""
        numbers = {"http1": 8080, "h2": 8081, "grpc": 8082, "tcp": 8083, "greet": 8084}
        command = [PYTHON, SUPPORT / "origin.py", "--log", self.folder / "origin.ids", "--name", name, "--on-term", on_term]
        flags = list(words)
        for protocol in ports.split():
            command += [f"--{protocol}", numbers[protocol]]
            flags += ["--port", f"{protocol}={numbers[protocol]}"]
        return self.start_pod(name, service, command, *flags)

    def curl(self, name, *words, seconds=20):
        """Runs curl in a pod to its end; returns (exit code, what the pod wrote)."""
        pod = self.run(name, ["curl", "-sS", "--max-time", str(seconds), *words])
        code = pod.wait(seconds + 10)
        return code, pod.log()

    def endpoints(self, service, port):
        """Names of the pods that a client of service:port is sent to now."""
        done = self.tulle("diagnostics", "endpoints", f"{service}.default.svc.cluster.local:{port}", "--mesh", self.name, "-o", "json", check=False)
        return {e["pod"] for e in json.loads(done.stdout)} if done.returncode == 0 else set()  # no such service: none

    def edge_is_mtls(self, source, destination, seconds=10):
        """Waits until the edge is seen, and says whether it is secured."""
        def seen():
            return [e for e in self.ask("edges", "--since-start") if e["src"] == source and e["dst"] == destination]
        return all(e["secured"] for e in wait_until(f"an edge {source} → {destination}", seen, seconds, every=0.2))

    def control_pid(self):
        """The pid of this mesh's tulle-control."""
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"tulle-control") and any(self.name.encode() in w for w in words):
                return int(path.parent.name)
        raise AssertionError(f"no tulle-control of {self.name} is running")

    def proxy_pid(self, name):
        """The pid of the tulle-proxy beside a pod's program."""
        return self.pid_below(name, "tulle-proxy")

    def pid_below(self, name, program):
        """The pid of a process named so below a pod's `tulle run`."""
        top, parents = self.process(name).pid, {}
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                comm, _, rest = path.read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue
            parents[int(path.parent.name)] = (int(rest.split()[1]), comm)
        for pid, (above, comm) in parents.items():
            while comm == program and above > 1:
                if above == top:
                    return pid
                above = parents.get(above, (0, ""))[0]
        raise AssertionError(f"no {program} below {top}")

    def kill_control(self):
        os.kill(self.control_pid(), signal.SIGKILL)

    def up_again(self):
        self.processes.all.remove(self.control)
        self.control.stop()
        self.up(foreground=False)

    def show_logs(self, lines=60):
        super().show_logs(lines)
        print(procs.tail(str(self.tulle("get", "pod", "--mesh", self.name, check=False).stdout), 40))
