"""Stand-ins for the two programs that `tulle run` works with, so that its own part can be tested by itself: a control
plane that writes down what it is asked, and a proxy that is only an admin port."""
import http.server
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import socketserver
import threading
import time

import procs
from procs import wait_until
from support.mesh import BIN, PYTHON

PROXY = """#!{python}
import http.server, os, signal, sys, time
log = os.environ["FAKE_LOG"]
def note(text):
    with open(log, "a") as f: f.write(text + "\\n")
note("proxy starts on %s ports %s" % (os.environ["TULLE_PROXY_POD_IP"], os.environ["TULLE_PROXY_POD_PORTS"]))
os.fstat(int(os.environ["TULLE_PROXY_POD_NETNS_FD"]))
class Admin(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if not os.path.exists(log + ".unready") else 503); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
def end(*_):
    note("proxy ends"); sys.stderr.flush(); os._exit(0)
def drain(*_):
    note("proxy drains"); os.close(int(os.environ["TULLE_PROXY_POD_DRAINED_FD"]))
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, drain)
host, port = os.environ["LINKERD2_PROXY_ADMIN_LISTEN_ADDR"].rsplit(":", 1)
http.server.HTTPServer((host, int(port)), Admin).serve_forever()
"""


class Control:
    """POST /v1/workloads, …/ID/ready, GET …/ID/hold and DELETE …/ID, over HTTP/1.1 on a Unix socket. `log` has it all,
    in the order in which it came: (what, detail)."""

    def __init__(self, path, addresses):
        self.path, self.addresses, self.log, self.holds = path, addresses, [], []
        self.lock, self.number = threading.Lock(), 0
        self.env = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def body(self):
                return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"null")

            def answer(self, status, value):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self):
                body = self.body()
                if self.path == "/v1/workloads":
                    outer.note("register", body)
                    self.answer(*outer.register(body))
                else:
                    outer.note("ready", body["ready"])
                    self.answer(200, {})

            def do_DELETE(self):
                outer.note("delete", self.path.rsplit("/", 1)[1])
                self.answer(200, {})

            def do_GET(self):
                ident = self.path.split("/")[3]
                outer.note("hold", ident)
                outer.holds.append(self.connection)
                self.send_response(200)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"3\r\n{}\n\r\n")
                self.connection.recv(1)  # until either side ends it
                outer.note("released", ident)
                self.close_connection = True

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.server = Server(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, what, detail):
        with self.lock:
            self.log.append((what, detail))

    def whats(self):
        return [what for what, _ in self.log]

    def details(self, what):
        return [detail for w, detail in self.log if w == what]

    def register(self, body):
        if body.get("name") == "taken":
            return 409, {"error": "the name taken is in use"}
        self.number += 1
        free = [a for a in self.addresses if a not in body.get("refused_addresses", [])]
        address = body.get("address") or free[0]
        ports = [{**p, "served": p.get("served") or p["port"] + (20000 if p["port"] < 1024 else 0)} for p in body["ports"]]
        return 200, {"id": f"w{self.number}", "name": body.get("name") or "chosen", "namespace": body["namespace"], "address": address,
                     "token_path": "/nowhere/token", "identity": "i", "trust_anchors_pem": "pem", "ports": ports, "env": self.env}

    def close(self):
        """As when it is killed: all connections end, the socket's file stays."""
        self.server.shutdown()
        self.server.server_close()
        for connection in self.holds:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Runner:
    """`tulle run` against the stand-ins, everything in `folder`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.name = "t" + secrets.token_hex(4)
        self.runtime = pathlib.Path("/tmp") / f"tulle-test-{self.name}"  # a short path, for the socket's sake
        (self.runtime / "tulle" / self.name).mkdir(parents=True, mode=0o700)
        self.runtime.chmod(0o700)
        self.socket = self.runtime / "tulle" / self.name / "control.sock"
        base = secrets.randbelow(250) + 1
        self.addresses = [f"127.{70 + base % 20}.{base}.{n}" for n in range(1, 9)]
        self.proxy = self.folder / "proxy.py"
        self.proxy.write_text(PROXY.format(python=PYTHON))
        self.proxy.chmod(0o755)
        self.events = self.folder / "events"
        self.processes = procs.Processes(self.folder)
        self.env = {"XDG_RUNTIME_DIR": str(self.runtime), "HOME": str(self.folder), "FAKE_LOG": str(self.events), "LINKERD2_PROXY_LOG": "off"}
        self.control = self.refusing = None
        self.start_control()

    def start_control(self):
        if self.refusing:
            self.refusing.shutdown(socket.SHUT_RDWR)
            self.refusing.close()
            self.refusing = None
        if self.socket.exists():
            self.socket.unlink()
        self.control = Control(self.socket, self.addresses)

    def refuse_for_now(self):
        """In the place of a control plane that is gone: ends each connection at once, until the next start_control().
        Returns a function that tells how many there were."""
        self.socket.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket))
        listener.listen()
        count = 0

        def refuse():
            nonlocal count
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                count += 1
        threading.Thread(target=refuse, daemon=True).start()
        self.refusing = listener
        return lambda: count

    def run(self, *words, flags=(), name="pod", env=None):
        # What the proxy of a test needs to know reaches it as the user's own setting would.
        launcher = self.folder / "proxy"
        launcher.write_text(f"#!/bin/sh\nFAKE_LOG={self.events} exec {self.proxy}\n")
        launcher.chmod(0o755)
        return self.processes.start(name, [BIN / "tulle", "run", "--mesh", self.name, "--proxy", launcher, *flags, "--", *words],
                                    {**self.env, **(env or {})})

    def finish(self, *words, flags=(), name="pod", env=None):
        """Runs it to its end; returns (exit code, what it wrote)."""
        pod = self.run(*words, flags=flags, name=name, env=env)
        return pod.wait(30), pod.log()

    def noted(self):
        return self.events.read_text().splitlines() if self.events.exists() else []

    def wait(self, what, condition, seconds=10):
        return wait_until(what, condition, seconds)

    def stop(self):
        self.processes.stop()
        self.control.close()
        shutil.rmtree(self.runtime, ignore_errors=True)
