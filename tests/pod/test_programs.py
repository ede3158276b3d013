"""Real programs in pods, unchanged, as whoever runs this."""
import os
import pathlib
import signal
import socket
import subprocess
import urllib.request

import pytest

POSTGRES = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))


def fetch(runner, port):
    """GET / of a port of the pod, by way of --expose."""
    def once():
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).read()
        except OSError:
            return None
    return runner.wait("an answer", once)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_nginx_on_port_80(runner):
    """Master and workers, the well-known port, its own files."""
    folder = runner.folder
    (folder / "index.html").write_text("served by nginx\n")
    user = "user www-data;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"""{user} daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 2;
events {{}}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s; server {{ listen 80; root {folder}; }} }}""")
    port = free_port()
    pod = runner.run("/usr/sbin/nginx", "-e", "stderr", "-c", folder / "nginx.conf",
                     flags=["--service", "web", "--port", "http=80", "--expose", f"{port}:80"])
    assert fetch(runner, port) == b"served by nginx\n", pod.log()
    runner.wait("published", lambda: ("ready", True) in runner.control.log)
    assert runner.noted()[0].endswith("ports 20080:80")
    pod.signal(signal.SIGTERM)
    assert pod.wait(10) == 0, pod.log()


@pytest.mark.skipif(os.getuid() == 0, reason="PostgreSQL refuses root: the run as an ordinary user has this")
def test_postgresql_as_an_ordinary_user(runner):
    assert POSTGRES, "PostgreSQL is not installed; ./dev setup installs it"
    data = runner.folder / "data"
    code, log = runner.finish(POSTGRES[-1] / "initdb", "-D", data, "-A", "trust", "-U", "me", name="initdb")
    assert code == 0, log
    runner.control.log.clear()
    port = free_port()
    pod = runner.run(POSTGRES[-1] / "postgres", "-D", data, "-k", "", "-h", "0.0.0.0",
                     flags=["--service", "db", "--port", "pg=5432", "--expose", f"{port}:5432"])
    runner.wait("published", lambda: ("ready", True) in runner.control.log, 20)
    command = [POSTGRES[-1] / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "me", "-d", "postgres", "-Atc", "select 6*7"]

    def answers():  # it listens a little before it takes questions
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout == "42\n"
    runner.wait(f"an answer; its log: {pod.log()}", answers, 20)
    pod.signal(signal.SIGTERM)
    assert pod.wait(20) == 0, pod.log()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_root_may_become_somebody_else(runner):
    code, log = runner.finish("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "id", "-un")
    assert (code, log) == (0, "nobody\n")


def test_redis(runner):
    port = free_port()
    pod = runner.run("/usr/bin/redis-server", "--save", "", "--dir", runner.folder, "--bind", "0.0.0.0", "--protected-mode", "no",
                     flags=["--service", "store", "--port", "redis=6379", "--expose", f"{port}:6379"])
    runner.wait("published", lambda: ("ready", True) in runner.control.log)
    with socket.create_connection(("127.0.0.1", port), 5) as c:
        c.sendall(b"PING\r\n")
        c.settimeout(5)
        assert c.recv(100) == b"+PONG\r\n"
    pod.signal(signal.SIGTERM)
    assert pod.wait(10) == 0, pod.log()


def test_who_the_application_is(runner):
    script = "id -u; id -g; grep CapEff /proc/self/status; cat /etc/resolv.conf; ls /proc | grep -c '^[0-9]'"
    code, log = runner.finish("sh", "-c", script, flags=["--namespace", "shop"])
    lines = log.splitlines()
    assert code == 0 and lines[:2] == [str(os.getuid()), str(os.getgid())], log
    assert lines[2].endswith("0000000000000000" if os.getuid() else "00000000a80425fb"), lines[2]
    assert lines[3:6] == ["nameserver 127.0.0.1", "search shop.svc.cluster.local svc.cluster.local cluster.local", "options ndots:5"]
    assert int(lines[6]) < 8, "only the pod's own processes are seen"
