"""Ours against itself, small and large: what grows with workers, endpoints, routes and services."""
import os
import pathlib
import socket
import time

import outcome
import peers
import procs
import rows
from machine import LOAD_CPU, cpu_ns, family, memory_mb, pin

USED = 5  # services that the proxy of the last row uses


def service(name, ports, selector=True):
    return (f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default}}\nspec:\n" +
            ("  selector: {app: origin}\n" if selector else "") + f"  ports: [{ports}]\n")


class Scaled(peers.Tulle):
    """Our pair with further manifests. `extra`: YAML documents."""

    def __init__(self, folder, binaries, what, extra="", environment=None):
        self.name = what
        self.extra = extra
        self.environment = environment or {}
        super().__init__(folder, folder, binaries, 100)

    def manifests(self):
        folder = super().manifests()
        documents = self.extra.split("---\n")
        for n in range(0, len(documents), 2000):  # a file may have 1 MiB
            (folder / f"more{n}.yaml").write_text("---\n".join(documents[n:n + 2000]))
        return folder

    def at(self, host, port, seconds, rate, what="http1", path="/1k"):
        """Runs a load to that place; µs of CPU a request of each proxy, and what the load says."""
        before = [cpu_ns(pids) for pids in self.proxies]
        with self.send([str(w) for w in (what, host, port, seconds, rows.LANES, rate, path)]) as out:
            result = self.answer(out.read())
        return [(cpu_ns(pids) - b) / 1e3 / max(1, result["requests"]) for pids, b in zip(self.proxies, before)], result

    def seconds_until_answered(self, host, port, what="http1", seconds=60):
        """How long it takes until a request to that service succeeds, to 0.3 s."""
        def answered():
            try:
                return self.at(host, port, 0.3, 50, what)[1]["requests"] > 0
            except SystemExit:  # the name is not known yet
                return False

        begun = time.monotonic()
        procs.wait_until(f"{self.name}: {host}:{port} answers", answered, seconds)
        return time.monotonic() - begun

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


def line(row, figure, values, digits=1):
    return outcome.Line(f"scaling, {row}", figure, values, {}, digits)


def workers(folder, binaries):
    """Proxies may use both CPUs, of which load and server take what they need."""
    cpu, rate = {}, {}
    for count in (1, 2):
        with Scaled(folder, binaries, f"workers{count}", environment={"LINKERD2_PROXY_CORES": str(count)}) as pair:
            for pids in pair.proxies:
                pin(pids, *range(os.cpu_count()))
            used, result = pair.at("origin", 80, 2, 0)
            cpu[str(count)], rate[str(count)] = sum(used) / 2, result["rate"]
    return [line("workers", "requests/s, all on two CPUs", rate, 0), line("workers", "CPU per proxy and request, µs", cpu)]


def endpoints(folder, binaries):
    """Endpoints without a proxy, each an address of its own of one HTTP/2 server; first each gets its connection."""
    cpu, memory, first = {}, {}, {}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    programs = procs.Processes(folder)
    server = programs.start("endpoints", [binaries / "bench_origin", "lo", port, 0])
    pin(family(server.pid), LOAD_CPU)
    try:
        for count in (1, 10_000):
            addresses = [f"127.33.{i // 250}.{i % 250 + 1}" for i in range(count)]
            slices = "".join(
                f"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
                f"metadata: {{name: many-{n}, namespace: default, labels: {{kubernetes.io/service-name: many}}}}\n"
                f"ports: [{{name: h2, port: {port}, protocol: TCP}}]\nendpoints:\n" +
                "".join(f"- {{addresses: [{a}], conditions: {{ready: true}}}}\n" for a in addresses[n:n + 1000])
                for n in range(0, count, 1000))
            manifests = service("many", "{name: h2, port: 90}", selector=False) + slices
            with Scaled(folder, binaries, f"endpoints{count}", manifests) as pair:
                first[f"{count:,}"] = pair.seconds_until_answered("many", 90, "http2")
                pair.at("many", 90, 4, 0, "http2")
                used, _ = pair.at("many", 90, 3, 2000, "http2")
                cpu[f"{count:,}"], memory[f"{count:,}"] = used[0], memory_mb(pair.proxies[0])[0]
    finally:
        programs.stop()
    return [line("endpoints of one service", "CPU per request at 2,000/s, outbound, µs", cpu),
            line("endpoints of one service", "resident memory, outbound, MB", memory),
            line("endpoints of one service", "first answer after, s", first)]


def routes(folder, binaries):
    """Rules with a path each, sixteen to an HTTPRoute as Gateway API has it; the request matches the last."""
    cpu, memory = {}, {}
    for count in (1, 1000):
        paths = [f"/path/number/{n}" for n in range(count - 1)] + ["/1k"]
        manifests = "".join(
            f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{n}, namespace: default}}\nspec:\n"
            '  parentRefs: [{group: "", kind: Service, name: origin, port: 80}]\n  rules:\n' +
            "".join(f"  - {{matches: [{{path: {{type: PathPrefix, value: {p}}}}}], backendRefs: [{{name: origin, port: 80}}]}}\n" for p in paths[n:n + 16])
            for n in range(0, count, 16))
        with Scaled(folder, binaries, f"routes{count}", manifests) as pair:
            pair.at("origin", 80, 0.5, 0)
            used, _ = pair.at("origin", 80, 2, 0)
            cpu[f"{count:,}"], memory[f"{count:,}"] = used[0], memory_mb(pair.proxies[0])[0]
    return [line("routes of one service", "CPU per request, saturated, outbound, µs", cpu), line("routes of one service", "resident memory, outbound, MB", memory)]


def services(folder, binaries):
    """The client uses five of them."""
    proxy, control = {}, {}
    for count in (10, 10_000):
        manifests = "".join(service(f"s{n}", "{name: http, port: 80, targetPort: http}", selector=n < USED) for n in range(count))
        with Scaled(folder, binaries, f"services{count}", manifests) as pair:
            for n in range(USED):
                pair.seconds_until_answered(f"s{n}", 80)
                pair.at(f"s{n}", 80, 0.5, 500)
            proxy[f"{count:,}"] = memory_mb(pair.proxies[0])[0]
            control[f"{count:,}"] = memory_mb([p for p in family(pair.mesh.control.pid) if named(p, "tulle-control")])[0]
    return [line("services in the mesh, 5 used", "resident memory, outbound proxy, MB", proxy),
            line("services in the mesh, 5 used", "resident memory, tulle-control, MB", control)]


def named(pid, name):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == name


def measure(folder, binaries, progress):
    """All lines. A row that fails says so and leaves the others."""
    lines, failed = [], []
    for row in (workers, endpoints, routes, services):
        progress(f"scaling: {row.__name__}")
        try:
            lines += row(folder, binaries)
        except (SystemExit, TimeoutError, peers.meshes.MeshError) as e:
            failed.append(f"SKIPPED: scaling, {row.__name__}: {e}")
            progress(failed[-1])
    return lines, failed
