"""What the proxy does when discovery is not what it should be, or is asked too much."""
import contextlib
import re
import select
import socket
import threading
import urllib.request

import grpc
from support.between import Between
from support.mesh import PYTHON, SUPPORT, service


def metrics(mesh, name):
    with urllib.request.urlopen(f"http://{mesh.address(name)}:4191/metrics", timeout=10) as answer:
        return answer.read().decode()


def count(text, family, **labels):
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if re.match(family + r"[{ ]", line) and all(f'{k}="{v}"' in line for k, v in labels.items()))


class Client:
    """A pod that calls the service all the time, through a control plane that can be tampered with."""

    def __init__(self, mesh, between, **env):
        mesh.manifest("service.yaml", service("origin"))
        mesh.origin("one", "origin", "--label", "app=origin", ports="http1")
        mesh.ready("one")
        self.mesh, self.out = mesh, mesh.folder / "client.jsonl"
        mesh.run("client", [PYTHON, SUPPORT / "client.py", "--out", self.out, "--rate", 50, "--http1", "origin:80"], env={**between.env, **env})
        mesh.wait("answers of the first instance", lambda: self.answered("one"), 20)

    def answered(self, instance):
        return self.out.exists() and f'"{instance}"' in self.out.read_text()

    def second_instance(self):
        self.mesh.origin("two", "origin", "--label", "app=origin", ports="http1")
        self.mesh.ready("two")


def test_a_lost_update_is_found_and_made_good(mesh):
    """The stream goes on as if nothing had happened; comparing digests shows that something is missing."""
    mesh.up()
    with Between(mesh) as between:
        client = Client(mesh, between, TULLE_PROXY_DIGEST_INTERVAL="500ms")
        mesh.wait("some comparisons", lambda: count(metrics(mesh, "client"), "tulle_discovery_checks_total", result="same") >= 3, 20)
        assert count(metrics(mesh, "client"), "tulle_discovery_resyncs_total") == 0, "both ends count the same"
        lost = between.lose_one("Destination/Get")
        client.second_instance()
        mesh.wait("an update is lost", lambda: lost, 10)
        mesh.wait("traffic to the second instance all the same", lambda: client.answered("two"), 20)
        text = metrics(mesh, "client")
        assert count(text, "tulle_discovery_resyncs_total", rpc="Get", reason="digest") == 1, text
        assert count(text, "tulle_discovery_resyncs_total") == 1, text
        assert "lost an update" in (mesh.folder / "client.log").read_text()


def test_without_the_comparison_all_is_asked_for_now_and_then(mesh):
    """Another control plane than ours does not have it."""
    mesh.up()
    with Between(mesh) as between:
        between.refuse = lambda method: grpc.StatusCode.UNIMPLEMENTED if "tulle.dev.Digests" in method else None
        client = Client(mesh, between, TULLE_PROXY_DIGEST_INTERVAL="100ms")
        between.lose_one("Destination/Get")
        client.second_instance()
        mesh.wait("traffic to the second instance all the same", lambda: client.answered("two"), 20)
        text = metrics(mesh, "client")
        assert count(text, "tulle_discovery_resyncs_total", rpc="Get", reason="periodic") >= 1, text


def test_clients_of_the_control_plane_have_names(mesh):
    mesh.up()
    with Between(mesh) as between:
        # A name instead of an address has to be resolved.
        port = between.address.rsplit(":", 1)[1]
        env = {"LINKERD2_PROXY_POLICY_SVC_ADDR": f"localhost:{port}", "LINKERD2_PROXY_DESTINATION_SVC_ADDR": f"localhost:{port}"}
        mesh.run("pod", ["sleep", "infinity"], "--port", "http=8080", env=env)
        mesh.wait("the pod is known", lambda: mesh.pod("pod"), 10)
        mesh.wait("the proxy has resolved it", lambda: resolved(mesh, port), 20, every=0.1)


def resolved(mesh, port):
    try:
        text = metrics(mesh, "pod")
    except OSError:
        return False
    return (count(text, "control_dns_resolutions_total", client="policy", record_type="A", result="ok") >= 1
            and count(text, "control_request_total", addr=f"localhost:{port}", tls="no_identity", no_tls_reason="loopback") >= 1
            and count(text, "control_response_total", classification="success", grpc_status="0") >= 1)  # the certificate


def accept_and_close(servers):
    """Takes what comes, until the sockets are closed."""
    try:
        while True:
            for server in select.select(servers, [], [])[0]:
                server.accept()[0].close()
    except (OSError, ValueError):
        pass


def test_a_program_that_scans_addresses_does_not_fill_the_proxy(mesh):
    mesh.up()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.90.0.1", 0)))]
        port = servers[0].getsockname()[1]
        servers += [stack.enter_context(socket.create_server((f"127.90.0.{n}", port))) for n in range(2, 101)]
        threading.Thread(target=accept_and_close, args=(servers,), daemon=True).start()
        script = ("import signal, socket\n"
                  "for n in range(1, 101):\n"
                  f" s = socket.create_connection((f'127.90.0.{{n}}', {port}), 10); assert s.recv(1) == b''; s.close()\n"
                  "print('scanned', flush=True); signal.pause()")
        pod = mesh.run("scanner", [PYTHON, "-c", script],
                       env={"TULLE_PROXY_MAX_TARGETS": "20", "LINKERD2_PROXY_OUTBOUND_DISCOVERY_IDLE_TIMEOUT": "100s"})
        mesh.wait("all is scanned", lambda: "scanned" in pod.log() or not pod.running(), 60)
        assert pod.running(), pod.log()
        text = metrics(mesh, "scanner")
        assert count(text, "tulle_open", direction="outbound", kind="targets") == 20, text
        assert "\ntulle_buffered_bytes " in text, text
        assert count(text, "tulle_cache_evictions_total", cache="targets") == 80, text
