"""A local mesh for a test: `tulle up`, `tulle run`, and questions to it, by the command line that a user has."""
import json
import os
import pathlib
import secrets
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
