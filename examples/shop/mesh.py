"""A local mesh by the command line that a user has: `tulle up`, `tulle run`, `tulle get`, `tulle edges`, `tulle down`.
Used by the demo, the tests and the bench."""
import json
import os
import pathlib
import signal
import subprocess

import procs

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.pop("TULLE_MESH", None)  # a mesh of the user's own is none of ours
BIN = pathlib.Path(os.environ.get("TULLE_BIN", ROOT / "build/dev/bin"))


class MeshError(Exception):
    """The command line said no; the text says what it was asked and what it said."""


def remove(name):
    """Ends a mesh by name, whoever started it, as far as there is anything to end."""
    subprocess.run([BIN / "tulle", "down", "--mesh", name, "--purge"], stdin=subprocess.DEVNULL, capture_output=True)


class Mesh:
    """One mesh: `name` tells it from others on the machine, `manifests` is its folder of manifests, and `folder` gets
    the logs of everything that is started here."""

    def __init__(self, name, folder, manifests):
        self.name, self.folder, self.manifests = name, pathlib.Path(folder), pathlib.Path(manifests)
        self.processes = procs.Processes(self.folder)
        self.control = None

    def tulle(self, *words, check=True, timeout=30):
        """Runs the CLI to its end; returns the CompletedProcess."""
        words = [str(w) for w in words]
        done = subprocess.run([str(BIN / "tulle"), *words], text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise MeshError(f"tulle {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, *words):
        """The answer of a table command as JSON."""
        return json.loads(self.tulle(*words, "--mesh", self.name, "-o", "json").stdout)

    def answers(self):
        return self.tulle("get", "service", "--mesh", self.name, "-o", "json", check=False).returncode == 0

    def up(self, *words, foreground=True, prometheus=False):
        """Starts the mesh and waits until it answers. In the foreground it ends with this process."""
        command = [BIN / "tulle", "up", "--mesh", self.name, "--dir", self.manifests, *words]
        command += ["--foreground"] if foreground else []
        command += [] if prometheus else ["--no-prometheus"]
        self.control = self.processes.start("up", command)

        def is_up():
            if self.control.popen.poll() not in (None, 0):
                raise MeshError(f"tulle up ended with {self.control.popen.returncode}:\n{procs.tail(self.control.log())}")
            return self.answers()

        procs.wait_until(f"tulle up --mesh {self.name} answers; its log: {self.control.log_path}", is_up, 20, every=0.05)

    def start_pod(self, name, service, command, *words, env=None):
        """`tulle run` for `command`; `words` are further flags. Does not wait."""
        flags = ["--mesh", self.name, "--service", service, "--name", name, *[str(w) for w in words]]
        return self.processes.start(name, [BIN / "tulle", "run", *flags, "--", *command], env)

    def pod(self, name):
        """What the mesh says of a pod, as a Kubernetes value; None while it is not known."""
        return next((p for p in self.ask("get", "pod")["items"] if p["metadata"]["name"] == name), None)

    def process(self, name):
        """The latest `tulle run` of that name."""
        return next(p for p in reversed(self.processes.all) if p.name == name)

    def ready(self, name, seconds=20):
        """Waits until the mesh calls the pod ready; returns the pod."""
        process = self.process(name)

        def is_ready():
            if not process.running():
                raise MeshError(f"{name} ended with {process.popen.returncode}:\n{procs.tail(process.log(), 30)}")
            pod = self.pod(name) or {}
            conditions = pod.get("status", {}).get("conditions", [])
            return pod if any(c["type"] == "Ready" and c["status"] == "True" for c in conditions) else None

        return procs.wait_until(f"{name} is ready; its log: {process.log_path}", is_ready, seconds, every=0.05)

    def address(self, name):
        return self.pod(name)["status"]["podIP"]

    def show_logs(self, lines=60):
        for path in sorted(self.folder.glob("*.log")):
            print(f"--- {path.name}\n{procs.tail(path.read_text(errors='replace'), lines)}")

    def stop(self, seconds=15):
        """Ends the pods, last started first, then the mesh."""
        pods = [p for p in self.processes.all if p is not self.control]
        for process in reversed(pods):
            process.signal(signal.SIGTERM)
        for process in reversed(pods):
            try:
                process.wait(seconds)
            except TimeoutError:
                process.kill()
        self.processes.stop()
        if self.control is not None:
            remove(self.name)
