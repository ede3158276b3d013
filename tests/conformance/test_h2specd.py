"""All of h2specd's cases against our HTTP/2 client: towards an application behind the inbound proxy, and towards a peer of
the outbound one, over mesh TLS. h2specd is a server with a port for each case; the requests are curl's, through ours."""
import re
import subprocess

from support.control import Workload
from support.mesh import PYTHON, SUPPORT
from support.mesh_tls import Certificate

TOOL = "h2specd 2.2.1"
CASES = 57
FIRST_PORT = 30000  # in a pod, or on a pod's own address
TIMEOUT = 1  # s, that a case waits for what should happen; a case as a whole may take 3
PORTS = {f"case-{i}": FIRST_PORT + i for i in range(CASES)}


def script(path, line):
    path.write_text(f"#!/bin/sh\n# Called with the URL of a case, as h2specd knows it.\nport=${{1##*:}}\nport=${{port%/}}\nexec {line}\n")
    path.chmod(0o755)
    return path


CURL = "curl -sS --max-time 2 --http2-prior-knowledge http://h2specd:"


def read(said):
    """(failing, total) from what h2specd wrote; its output is the only report it makes."""
    section, failing, passed = "", [], 0
    for line in re.sub(r"\x1b\[[0-9;]*m", "", said).partition("Failures:")[0].splitlines():
        if heading := re.match(r"\s*([\d.]+)\. \S", line):
            section = heading.group(1)
        elif case := re.search(r"([✔×])\s+(\d+: .*)", line):
            passed += case.group(1) == "✔"
            if case.group(1) == "×":
                failing.append(f"{section} {case.group(2)}")
        elif failing and (actual := re.search(r"Actual: (.*)|(Error: .*)", line)):
            failing[-1] += f" ({actual.group(1) or actual.group(2)})"
    return failing, passed + len(failing)


def test_inbound_to_the_application(mesh, tools, cases):
    """Asked by a program in the same pod: out by its own proxy, and in by the same."""
    mesh.up()
    client = script(mesh.folder / "client.sh", CURL + '"$port/"')
    ports = [word for name, port in PORTS.items() for word in ("--port", f"{name}={port}")]
    pod = mesh.run("h2specd", [tools / "h2specd", "--host", "0.0.0.0", "--from-port", FIRST_PORT, "--timeout", TIMEOUT, "--exec", client], *ports)
    pod.wait(200)
    cases("inbound → application", *read(pod.log()), CASES)


def test_outbound_to_a_peer(mesh, tools, cases):
    mesh.up()
    peer = Workload(mesh.name, "h2specd", "h2specd", PORTS)
    certificate = Certificate(peer, mesh.folder)
    mesh.run("client", [PYTHON, SUPPORT / "on_request.py", mesh.folder / "pod.sock", "/bin/sh", "-c", f'{CURL}"$1/"', "curl"])
    mesh.wait("the client listens", (mesh.folder / "pod.sock").exists, 20)
    peer.ready()
    client = script(mesh.folder / "client.sh", f'curl -sS --max-time 3 --unix-socket {mesh.folder}/pod.sock "http://pod/$port"')
    done = subprocess.run([tools / "h2specd", "--host", peer.address, "--from-port", str(FIRST_PORT), "--timeout", str(TIMEOUT), "--exec", client,
                           "--tls", "--cert-file", certificate.chain, "--cert-key-file", certificate.key], capture_output=True, text=True, timeout=300)
    peer.close()
    cases("outbound → peer, mesh TLS", *read(done.stdout), CASES)
