"""A pair of proxies between a client and a server, compared: what a request costs in CPU, in latency and in memory.

    client → OUTBOUND → mutual TLS → INBOUND → nginx, 1 KiB answers

Pairs: none (the client speaks to nginx), HAProxy (HTTP/2 between the two), nginx (HTTP/1.1 between the two: it speaks no
HTTP/2 to upstreams) and ours, which runs as a user runs it: `tulle up` and two `tulle run`, interception included.
Both proxies share one CPU, load and server the other. All pairs stay up; rounds are interleaved and ratios are medians
of ratios within a round, so that what else the machine does falls on all. The first pair of a round rotates.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/shop"))

import mesh as meshes  # noqa: E402
import procs  # noqa: E402
from baseline import listening  # noqa: E402
from shop import free_loopback  # noqa: E402

PROXY_CPU, LOAD_CPU = 1, 0

ORIGIN = """daemon off; worker_processes 1; pid {dir}/origin.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; {temp}
  server {{ listen {address}:{port} backlog=4096; location / {{ default_type text/plain; return 200 "{body}"; }} }} }}
"""
TEMP = "client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;"

HAPROXY_COMMON = """global
  nbthread 1
  maxconn 4096
  ssl-server-verify required
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""
HAPROXY_OUT = HAPROXY_COMMON + """
frontend out
  bind {address}:{port}
  default_backend in
backend in
  server in {address}:{tls_port} ssl alpn h2 verify required ca-file {certs}/ca.pem crt {certs}/client.pem sni str(server.bench) verifyhost server.bench
"""
HAPROXY_IN = HAPROXY_COMMON + """
frontend in
  bind {address}:{tls_port} ssl crt {certs}/server.pem ca-file {certs}/ca.pem verify required alpn h2
  default_backend app
backend app
  server app {address}:{origin_port}
"""
NGINX_COMMON = """daemon off; worker_processes 1; pid {dir}/{name}.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; proxy_http_version 1.1; proxy_set_header Connection ""; {temp}
"""
NGINX_OUT = NGINX_COMMON + """
  upstream in {{ server {address}:{tls_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen {address}:{port}; location / {{
    proxy_pass https://in; proxy_ssl_certificate {certs}/client.pem; proxy_ssl_certificate_key {certs}/client.pem;
    proxy_ssl_trusted_certificate {certs}/ca.pem; proxy_ssl_verify on; proxy_ssl_protocols TLSv1.3;
    proxy_ssl_name server.bench; proxy_ssl_server_name on; }} }} }}
"""
NGINX_IN = NGINX_COMMON + """
  upstream app {{ server {address}:{origin_port}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen {address}:{tls_port} ssl; ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.pem;
    ssl_client_certificate {certs}/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;
    location / {{ proxy_pass http://app; }} }} }}
"""


def make_certificates(folder):
    """A CA and a client's and a server's certificate (P-256), key and certificate in one file."""
    folder.mkdir()

    def openssl(*words):
        subprocess.run(["openssl", *[str(w) for w in words]], check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    openssl("req", "-x509", *key, "-subj", "/CN=bench", "-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    for name in ("client", "server"):
        openssl("req", *key[:-2], "-subj", f"/CN={name}.bench", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr")
        (folder / "ext").write_text(f"subjectAltName=DNS:{name}.bench\nextendedKeyUsage=serverAuth,clientAuth\n")
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", folder / "ext", "-out", folder / f"{name}.crt")
        (folder / f"{name}.pem").write_text((folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text())


def family(pid):
    """The process and all its descendants."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            try:
                queue += [int(c) for c in task.read_text().split()]
            except OSError:
                pass
    return found


def cpu_ns(pids):
    """CPU time of all threads so far."""
    total = 0
    for pid in pids:
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except OSError:
                pass
    return total


def rss_mb(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total / 1024


def pin(pids, cpu):
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                os.sched_setaffinity(int(task.name), {cpu})
            except ProcessLookupError:
                pass


class Direct:
    """No proxy: the client speaks to nginx. The other peers put a pair in between by `start_proxies`."""
    name = "none"
    versions = ""

    def __init__(self, folder, certs, binaries):
        self.folder = folder / self.name
        self.folder.mkdir()
        self.binaries = binaries
        self.programs = procs.Processes(self.folder)
        self.values = {"dir": self.folder, "certs": certs, "address": free_loopback(), "port": 8000, "tls_port": 8443, "origin_port": 8080,
                       "temp": TEMP.format(dir=self.folder), "name": self.name}
        self.target = [self.values["address"], "8080"]

    def write(self, file, template, **more):
        path = self.folder / file
        path.write_text(template.format(**{**self.values, **more}))
        return path

    def start_origin(self):
        conf = self.write("origin.conf", ORIGIN, body="x" * 1024, port=8080)
        self.origin = self.programs.start("origin", ["/usr/sbin/nginx", "-e", "stderr", "-p", self.folder, "-c", conf])

    def start_proxies(self):
        return []

    def start(self):
        self.start_origin()
        pairs = self.start_proxies()
        for port in (8080, int(self.target[1]), *([self.values["tls_port"]] if pairs else [])):
            procs.wait_until(f"{self.name}: {self.values['address']}:{port} listens", lambda p=port: listening(self.values["address"], p), 10)
        self.load(0.2, 4, 100)  # what starts workers late has started them after this
        self.proxies = [family(p.pid) for p in pairs]
        pin(family(self.origin.pid), LOAD_CPU)
        for pids in self.proxies:
            pin(pids, PROXY_CPU)

    def load(self, seconds, connections, rate):
        command = ["taskset", "-c", str(LOAD_CPU), self.binaries / "bench_loadgen", *self.target, seconds, connections, rate]
        done = subprocess.run([str(c) for c in command], text=True, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"bench: {self.name}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self):
        self.programs.stop()


class HAProxy(Direct):
    name = "haproxy"

    def start_proxies(self):
        self.target = [self.values["address"], "8000"]
        out = self.write("out.cfg", HAPROXY_OUT)
        inside = self.write("in.cfg", HAPROXY_IN)
        return [self.programs.start("out", ["haproxy", "-db", "-f", out]), self.programs.start("in", ["haproxy", "-db", "-f", inside])]


class Nginx(Direct):
    name = "nginx"

    def start_proxies(self):
        self.target = [self.values["address"], "8000"]
        out = self.write("out.conf", NGINX_OUT, name="out")
        inside = self.write("in.conf", NGINX_IN, name="in")
        return [self.programs.start(n, ["/usr/sbin/nginx", "-e", "stderr", "-p", self.folder, "-c", c]) for n, c in (("out", out), ("in", inside))]


class Tulle(Direct):
    """Ours, by its own commands. The load runs inside a pod, fed through a pair of FIFOs."""
    name = "tulle"

    def start(self):
        manifests = self.folder / "manifests"
        manifests.mkdir()
        (manifests / "services.yaml").write_text(
            "apiVersion: v1\nkind: Service\nmetadata: {name: origin, namespace: default}\n"
            "spec:\n  selector: {app: origin}\n  ports: [{name: http, port: 80, targetPort: http}]\n")
        self.mesh = meshes.Mesh(f"bench-{os.getpid()}", self.folder, manifests)
        self.mesh.up()
        conf = self.write("origin.conf", ORIGIN, body="x" * 1024, port=8080, address="0.0.0.0")
        nginx = ["/usr/sbin/nginx", "-e", "stderr", "-p", self.folder, "-c", conf]
        origin = self.mesh.start_pod("origin", "origin", nginx, "--label", "app=origin", "--port", "http=8080")
        self.orders, self.answers = self.folder / "orders", self.folder / "answers"
        os.mkfifo(self.orders)
        os.mkfifo(self.answers)
        loop = f'while read -r words <"{self.orders}"; do "{self.binaries}/bench_loadgen" $words >"{self.answers}"; done'
        self.client = self.mesh.start_pod("client", "client", ["sh", "-c", loop])
        self.mesh.ready("origin")
        self.mesh.ready("client")
        self.proxies = []
        for process in (self.client, origin):
            all_of_it = family(process.pid)
            proxy = [p for p in all_of_it if pathlib.Path(f"/proc/{p}/comm").read_text().startswith("tulle-proxy")]
            self.proxies.append(proxy)
            pin(set(all_of_it) - set(proxy), LOAD_CPU)
            pin(proxy, PROXY_CPU)
        self.target = ["origin", "80"]
        self.load(0.2, 1, 10)

    def load(self, seconds, connections, rate):
        self.orders.write_text(" ".join(str(w) for w in [*self.target, seconds, connections, rate]) + "\n")
        text = self.answers.read_text()
        if not text:
            raise SystemExit(f"bench: tulle: the load ended early: {procs.tail(self.client.log())}")
        return json.loads(text)

    def stop(self):
        self.mesh.stop()


PAIRS = {p.name: p for p in (Direct, HAProxy, Nginx, Tulle)}
CASES = {"2,000 req/s, 32 connections": (32, 2000), "32 connections, as fast as it goes": (32, 0)}


def measure(pair, seconds, connections, rate):
    before = [cpu_ns(pids) for pids in pair.proxies]
    result = pair.load(seconds, connections, rate)
    after = [cpu_ns(pids) for pids in pair.proxies]
    used = [(a - b) / 1000 / result["requests"] for a, b in zip(after, before)]
    result["cpu_us"] = sum(used) / len(used) if used else 0.0  # per request and proxy
    result["cpu_us_each"] = used
    return result


def median(values):
    return statistics.median(values)


def print_table(results, pairs, base):
    for case in CASES:
        print(f"\n### {case}")
        print("| pair | CPU µs per request and proxy | ratio to " + base + " [range] | req/s | p50 µs | p99 µs | RSS idle out / in, MB |")
        print("|---|---|---|---|---|---|---|")
        for name, pair in pairs.items():
            rounds = results[case][name]
            ratios = [r["cpu_us"] / b["cpu_us"] for r, b in zip(rounds, results[case][base]) if b["cpu_us"]] if pair.proxies else []
            ratio = f"{median(ratios):.2f} [{min(ratios):.2f}–{max(ratios):.2f}]" if ratios else "–"
            cpu = f"{median([r['cpu_us'] for r in rounds]):.1f}" if pair.proxies else "–"
            rss = " / ".join(f"{r:.1f}" for r in pair.idle_rss) or "–"
            print(f"| {name} | {cpu} | {ratio} | {median([r['rate'] for r in rounds]):,.0f} | {median([r['p50_us'] for r in rounds]):.0f} "
                  f"| {median([r['p99_us'] for r in rounds]):.0f} | {rss} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each run, a fifth of which is warm-up")
    parser.add_argument("--pairs", default=",".join(PAIRS), help=f"comma list of {', '.join(PAIRS)}")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "build/release/bin")
    parser.add_argument("--json", type=pathlib.Path, help="write every single result there")
    args = parser.parse_args()
    if os.cpu_count() < 2:
        raise SystemExit("bench: needs two CPUs: one for the proxies, one for load and server")
    if not (args.binaries / "bench_loadgen").exists():
        raise SystemExit(f"bench: {args.binaries}/bench_loadgen is missing: run ./dev build release")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    meshes.BIN = args.binaries
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tulle-bench-"))
    folder.chmod(0o711)
    make_certificates(folder / "certs")
    pairs = {name: PAIRS[name](folder, folder / "certs", args.binaries) for name in args.pairs.split(",")}
    results = {case: {name: [] for name in pairs} for case in CASES}
    try:
        for pair in pairs.values():
            pair.start()
            pair.idle_rss = [rss_mb(pids) for pids in pair.proxies]
        order = list(pairs)
        for number in range(args.rounds):
            order.append(order.pop(0))
            for case, (connections, rate) in CASES.items():
                for name in order:
                    results[case][name].append(measure(pairs[name], args.seconds, connections, rate))
                    r = results[case][name][-1]
                    print(f"round {number + 1}: {name}: {case}: {r['rate']:.0f} req/s, p99 {r['p99_us']:.0f} µs, {r['cpu_us']:.1f} µs CPU", file=sys.stderr)
        base = "haproxy" if "haproxy" in pairs else next((n for n in pairs if n != "none"), "none")
        print_table(results, pairs, base)
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))
    finally:
        for pair in pairs.values():
            pair.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
