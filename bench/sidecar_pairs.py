"""Pairs of sidecars of Linkerd's kind, made as tests/interop makes them: any proxy of the LINKERD2_PROXY_* environment at
both sides, each pair in a network namespace of its own under a tulle-control of its own. Needs root. To be imported when
it is settled whose binaries are used."""
import sys

import peers
import procs
from machine import LOAD_CPU, PROXY_CPU, family, pin

sys.path += [str(peers.ROOT / folder) for folder in ("tests", "tests/interop", "build/python")]

from sidecars import Namespace, Sidecar, SidecarMesh, own  # noqa: E402

PORTS = {"http": 8080, "h2": 8081, "redis": 6379}  # of the server's pod, as peers.SERVICES names them


class Sidecars(peers.Direct):
    """Ours."""
    name = "tulle sidecar"
    full_client = None

    def __init__(self, *words, program=None):
        super().__init__(*words)
        self.program, self.namespace, self.mesh = program or own(), Namespace(), None

    def start(self):
        try:
            with self.namespace:
                self.start_inside()
        except (AssertionError, TimeoutError) as e:
            logs = "".join(f"\n{path.name}: {procs.tail(path.read_text(errors='replace'), 3)}" for path in sorted(self.folder.glob("proxy-*.log")))
            raise SystemExit(f"bench: {self.name}: {e}{logs}") from None

    def start_inside(self):
        self.mesh = SidecarMesh(self.folder)
        self.mesh.manifest("services.yaml", peers.SERVICES)
        self.mesh.up()
        self.address = self.mesh.ask("get", "service", "origin")["spec"]["clusterIP"]
        self.server = self.sidecar("server", "origin", PORTS)
        self.values["address"] = self.server.address
        programs = self.serve(PORTS["redis"])
        self.client = self.sidecar("client", "client")
        self.server.ready()
        self.client.ready()
        self.proxies = self.proxies_of("http1")
        self.load("http1", 0.2, 4, 100)
        assert self.server.metric("request_total", 'direction="inbound"', 'tls="true"') > 0, "requests are not by mutual TLS"
        for program in programs:
            pin(family(program.pid), LOAD_CPU)
        for pids in self.proxies:
            pin(pids, PROXY_CPU)

    def sidecar(self, side, name, ports=None, **more):
        settings = {"LINKERD2_PROXY_CORES": "1", "LINKERD2_PROXY_LOG": "error", "TULLE_PROXY_MAX_CONNECTIONS": "20000", **more}
        return Sidecar(self.mesh, self.program, side, name, name, ports, lambda env: env | settings)

    def proxies_of(self, what):
        """All have one way out, and it is turned to the client's proxy that is meant."""
        client = self.client
        with self.namespace:
            if what.endswith("_full"):
                if not self.full_client:
                    self.full_client = self.sidecar("client", "client-full", TULLE_PROXY_TLS_RESUMPTION="false").ready()
                    pin([self.full_client.process.pid], PROXY_CPU)
                client = self.full_client
            Namespace.redirect([self.server], client.outbound)
        return [[client.process.pid], [self.server.process.pid]]

    def place(self, what):
        return self.address, {8000: 80, 8001: 81}.get(peers.PORTS[what][0], 6379)

    def load(self, what, *rest):
        self.proxies_of(what)
        return super().load(what, *rest)

    def send(self, words):
        with self.namespace:
            return super().send(words)

    def start_to_ready_ms(self):
        with self.namespace:
            return peers.second_start_ms(self.name, self.program, self.client.process.pid)

    def why(self):
        return procs.tail(self.client.process.log() + self.server.process.log(), 5)

    def stop(self):
        if self.mesh:
            self.mesh.stop()
        super().stop()


class Peer(Sidecars):
    """The same of another program."""
    name = "peer"
    may_fail = True
