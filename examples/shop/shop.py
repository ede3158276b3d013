"""What the shop is made of: its programs, their commands, files and ports, with and without the mesh.

Without the mesh every program listens on a loopback address of its own, is told by its environment or configuration
where the others are, and nginx takes the instances of `api` in turn. In the mesh nobody is told anything: names.
"""
import dataclasses
import grp
import os
import pathlib
import pwd
import random
import socket
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
SLOW_INSTANCE = "api-1"
SLOW_DELAY_MS = 150


@dataclasses.dataclass
class Program:
    """One instance of a service: what to run and where it listens."""
    name: str
    service: str
    command: list
    port: int
    port_name: str
    labels: dict = dataclasses.field(default_factory=dict)
    env: dict = dataclasses.field(default_factory=dict)
    ready_path: str = ""


def fill(template, **values):
    text = (HERE / "conf" / template).read_text()
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def free_loopback():
    """A random address in 127.32.0.0/11 on which nothing listens; away from where meshes and Debian's services are."""
    for _ in range(100):
        address = f"127.{random.randint(32, 62)}.{random.randint(0, 255)}.{random.randint(1, 250)}"
        with socket.socket() as probe:
            if probe.connect_ex((address, 8080)) != 0:
                return address
    raise SystemExit("demo: found no free loopback address; is something listening on all of 127.0.0.0/8, port 8080?")


class Shop:
    """The programs, for one run. `folder` holds their files; `address` is None in the mesh, else where all listen."""

    def __init__(self, folder, address=None, period=20.0, duty=0.5):
        self.folder = pathlib.Path(folder)
        self.address = address
        self.slow_start = self.folder / "slow-start"
        self.slow = f"{period:g},{duty:g},{SLOW_DELAY_MS}"
        meshed = address is None
        listen = "0.0.0.0" if meshed else address
        where = (lambda service, port: f"{service}:{port}") if meshed else (lambda _service, port: f"{address}:{port}")
        mail_port, web_port = (143, 80) if meshed else (8143, 8000)
        api_ports = [8080] * 3 if meshed else [8080, 8081, 8082]
        servers = "server api:80;" if meshed else " ".join(f"server {address}:{p} max_fails=0;" for p in api_ports)
        self.entry = "web:80" if meshed else f"{address}:{web_port}"
        user = pwd.getpwuid(os.getuid()).pw_name
        group = grp.getgrgid(os.getgid()).gr_name
        nginx = self.config("web", "nginx.conf", listen=f"{listen}:{web_port}", servers=servers,
                            user=f"user {user} {group};" if os.getuid() == 0 else "")
        redis = self.config("store", "redis.conf", port=6379, host=listen)
        # Dovecot's helpers give up root, and so need somebody to become; an ordinary user stays who he is.
        mail_user, mail_group = ("dovecot", "dovecot") if os.getuid() == 0 else (user, group)
        dovecot = self.config("mail", "dovecot.conf", port=mail_port, host=listen, username=mail_user, groupname=mail_group)
        common = {"HOST": listen, "SHOP_STUBS": str(ROOT / "build/python"), "PYTHONDONTWRITEBYTECODE": "1"}
        services = {"RATES": where("rates", 50051), "STORE": where("store", 6379), "MAIL": where("mail", mail_port)}
        apis = []
        for number, (port, version) in enumerate(zip(api_ports, ("v1", "v1", "v2")), 1):
            env = {**common, **services, "NAME": f"api-{number}", "VERSION": version, "PORT": str(port)}
            if f"api-{number}" == SLOW_INSTANCE:
                env.update(SHOP_SLOW=self.slow, SHOP_SLOW_START=str(self.slow_start))
            apis.append(Program(f"api-{number}", "api", [PYTHON, str(HERE / "api.py")], port, "http",
                                {"version": version}, env, "/healthz"))
        self.programs = [
            Program("store", "store", ["/usr/bin/redis-server", str(redis)], 6379, "redis"),
            Program("mail", "mail", ["/usr/sbin/dovecot", "-F", "-c", str(dovecot)], mail_port, "imap"),
            Program("rates", "rates", [PYTHON, str(HERE / "rates.py")], 50051, "grpc",
                    env={**common, "NAME": "rates", "PORT": "50051"}),
            *apis,
            Program("web", "web", ["/usr/sbin/nginx", "-p", str(nginx.parent), "-e", "stderr", "-c", str(nginx)],
                    web_port, "http"),
        ]

    def config(self, name, template, **values):
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / template
        path.write_text(fill(template, dir=folder, **values))
        return path

    def load(self, out, note, rate, seconds=0):
        command = [PYTHON, str(HERE / "load.py"), self.entry, "--rate", str(rate), "--note", note, "--out", str(out)]
        return command + (["--seconds", str(seconds)] if seconds else [])
