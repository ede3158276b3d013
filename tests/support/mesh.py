"""A local mesh for a test: `tulle up`, `tulle run`, and questions to it, by the command line that a user has."""
import json
import os
import pathlib
import secrets
import signal
import subprocess
import textwrap

import procs
from procs import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TULLE_BIN", ROOT / "build" / os.environ.get("TULLE_PRESET", "dev") / "bin"))
PROGRAMS = ["tulle", "tulle-control", "tulle-proxy"]
PYTHON = "/usr/bin/python3"
SUPPORT = ROOT / "tests/support"


def programs_missing():
    return [name for name in PROGRAMS if not os.access(BIN / name, os.X_OK)]


class Mesh:
    """One mesh with a random name. `folder` gets the manifests (`folder/manifests`) and the logs of all programs."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.manifests = self.folder / "manifests"
        self.manifests.mkdir()
        self.name = "t" + secrets.token_hex(4)
        self.processes = procs.Processes(self.folder)

    def __enter__(self):
        # A folder that the programs of a pod may pass through even where they change to another user.
        for part in (self.folder, *self.folder.parents):
            if part.owner() == self.folder.owner() and str(part).startswith("/tmp/"):
                part.chmod(0o711)
        return self

    def __exit__(self, *_):
        self.stop()

    def manifest(self, name, text):
        """Writes a manifest file, whole at once."""
        path = self.manifests / name
        new = path.with_suffix(".new")
        new.write_text(textwrap.dedent(text))
        new.rename(path)
        return path

    def tulle(self, *words, check=True, timeout=30):
        """Runs the CLI to its end; returns the CompletedProcess."""
        words = [str(w) for w in words]
        done = subprocess.run([str(BIN / "tulle"), *words], text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(f"tulle {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def ask(self, *words):
        """The answer of a table command as JSON."""
        return json.loads(self.tulle(*words, "--mesh", self.name, "-o", "json").stdout)

    def up(self, *words):
        self.control = self.processes.start("up", [BIN / "tulle", "up", "--mesh", self.name, "--dir", self.manifests, *words])
        wait_until(f"tulle up --mesh {self.name} answers; its log: {self.control.log()}", self.answers, 20, every=0.1)

    def answers(self):
        return self.tulle("get", "service", "--mesh", self.name, "-o", "json", check=False).returncode == 0

    @staticmethod
    def wait(what, condition, seconds, every=0.02):
        return wait_until(what, condition, seconds, every)

    def pod(self, name):
        """What the mesh says of a pod, as a Kubernetes value; None while it is not known."""
        items = self.ask("get", "pod").get("items", [])
        return next((p for p in items if p["metadata"]["name"] == name), None)

    def ready(self, name, seconds=20):
        """Waits until the mesh calls the pod ready."""
        process = next(p for p in reversed(self.processes.all) if p.name == name)

        def is_ready():
            if not process.running():
                raise AssertionError(f"{name} ended with {process.popen.returncode}:\n{procs.tail(process.log(), 30)}")
            pod = self.pod(name)
            conditions = (pod or {}).get("status", {}).get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        return wait_until(f"{name} is ready; its log:\n{procs.tail(process.log(), 30)}", is_ready, seconds, every=0.05)

    def address(self, name):
        return self.pod(name)["status"]["podIP"]

    def endpoints(self, service, port):
        """Names of the pods that a client of service:port is sent to now."""
        answer = self.ask("diagnostics", "endpoints", f"{service}.default.svc.cluster.local:{port}")
        return {e["pod"].split("/")[-1].split(".")[0] for e in answer}

    def edge_is_mtls(self, source, destination, seconds=10):
        """Waits until the edge is seen, and says whether it is secured."""
        def seen():
            return [e for e in self.ask("edges") if e["src"].startswith(source) and e["dst"].startswith(destination)]
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

    def kill_control(self):
        os.kill(self.control_pid(), signal.SIGKILL)

    def up_again(self):
        self.processes.all.remove(self.control)
        self.control.stop()
        self.up()

    def run(self, service, command, *words, name=None, env=None):
        """Starts a pod; `words` are further flags of `tulle run`. Does not wait until it is ready."""
        name = name or service
        flags = ["--mesh", self.name, "--service", service, "--name", name, *words]
        return self.processes.start(name, [BIN / "tulle", "run", *flags, "--", *command], env)

    def origin(self, name, service="origin", *words, on_term="finish", ports="http1 h2 grpc tcp"):
        """A pod of tests/support/origin.py that serves the given protocols on 8080, 8081, 8082 and 8083."""
        numbers = {"http1": 8080, "h2": 8081, "grpc": 8082, "tcp": 8083}
        command = [PYTHON, SUPPORT / "origin.py", "--log", self.folder / "origin.ids", "--name", name, "--on-term", on_term]
        flags = list(words)
        for protocol in ports.split():
            command += [f"--{protocol}", numbers[protocol]]
            flags += ["--port", f"{protocol}={numbers[protocol]}"]
        return self.run(service, command, *flags, name=name)

    def curl(self, name, *words, seconds=20):
        """Runs curl in a pod to its end; returns (exit code, what the pod wrote)."""
        pod = self.run(name, ["curl", "-sS", "--max-time", str(seconds), *words])
        code = pod.wait(seconds + 10)
        return code, pod.log()

    def show_logs(self):
        for path in sorted(self.folder.glob("*.log")):
            print(f"--- {path.name}\n{procs.tail(path.read_text(errors='replace'), 60)}")

    def stop(self):
        """Ends the pods, then the mesh."""
        pods = [p for p in self.processes.all if p.name != "up"]
        for pod in pods:
            pod.signal(15)
        for pod in pods:
            try:
                pod.wait(15)
            except TimeoutError:
                pod.kill()
        self.tulle("down", "--mesh", self.name, check=False)
        self.processes.stop()
