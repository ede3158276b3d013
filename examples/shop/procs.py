"""Child processes that never outlive their parent, and waiting with a deadline. Used by the demo and by the tests."""
import ctypes
import os
import pathlib
import signal
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


# How much slower and larger the programs are than usual: with sanitizers, tests/run.py says so.
SCALE = float(os.environ.get("TULLE_TEST_SCALE", "1"))


def wait_until(what, condition, seconds, every=0.02):
    """Returns the first true answer of `condition`; raises TimeoutError that says what was awaited after `seconds`."""
    seconds *= SCALE
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(f"after {seconds:g} s: {what}")
        time.sleep(every)


class Process:
    """One child: its own session, its output in a file, killed with its whole session by pid."""

    def __init__(self, name, command, folder, env=None, cwd=None, pass_fds=()):
        self.name, self.command = name, [str(c) for c in command]
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        parent = os.getpid()

        def in_child():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd,
                                          env={**os.environ, **(env or {})}, start_new_session=True, preexec_fn=in_child, pass_fds=pass_fds)
        self.pid = self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def wait(self, seconds):
        """The exit code (negative: the signal that ended it); raises TimeoutError."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"after {seconds:g} s {self.name} (pid {self.pid}) has not ended; its log ends:\n{tail(self.log())}") from None

    def stop(self, seconds=10):
        """SIGTERM, then after `seconds` SIGKILL to what is left of its session."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except TimeoutError:
            return self.kill()

    def kill(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return self.popen.wait()


class Processes:
    """All children of a run, ended in the reverse order of their start."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.all = []

    def start(self, name, command, env=None, cwd=None):
        process = Process(name, command, self.folder, env, cwd)
        self.all.append(process)
        return process

    def died(self):
        return [p for p in self.all if not p.running()]

    def stop(self, seconds=10):
        """All get SIGTERM at once, and `seconds` together."""
        for process in reversed(self.all):
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        for process in reversed(self.all):
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                process.kill()
        self.all.clear()


def tail(text, lines=12):
    return "\n".join(text.splitlines()[-lines:])
