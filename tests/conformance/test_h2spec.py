"""All of h2spec's cases against our HTTP/2 server: the inbound one in plaintext, over mesh TLS and through the direct
port, and the outbound one, which the tool reaches as the program of a pod."""
import subprocess
import xml.etree.ElementTree as ET

import pytest
from support.control import Workload
from support.mesh import server, service
from support.mesh_tls import Certificate, Tunnel

TOOL = "h2spec 2.2.1"
CASES = 145
TIMEOUT = 2  # s, that a case waits for what should happen

NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 8080 http2;
    location / {{ proxy_pass http://unix:{folder}/inner.sock; }}
  }}
  server {{
    listen unix:{folder}/inner.sock;
    location / {{ return 200 "{body}"; }}
  }}
}}
"""


@pytest.fixture
def origin(tools, mesh):
    """nginx as an application that speaks HTTP/2: HTTP/2 is forwarded as HTTP/2. It answers once the whole request is
    there: after an early answer we end the stream, and what the tool then sends on it is rightly ignored."""
    mesh.manifest("origin.yaml", service("origin", "http") + server("origin", "http", protocol="unknown"))
    mesh.up()
    (mesh.folder / "nginx.conf").write_text(NGINX.format(folder=mesh.folder, body="x" * 1024))
    mesh.run("origin", ["/usr/sbin/nginx", "-e", "stderr", "-p", mesh.folder, "-c", mesh.folder / "nginx.conf"], "--label", "app=origin", "--port", "http=8080")
    mesh.ready("origin")
    return mesh


def read(report):
    """(failing, total) of a JUnit file of h2spec's; what it skipped has not passed."""
    failing, total = [], 0
    for suite in ET.parse(report).getroot().iter("testsuite"):
        for case in suite.iter("testcase"):
            total += 1
            if len(case):
                said = " ".join(" ".join(child.itertext()) for child in case).split()
                failing.append(f"{case.get('package')} {case.get('classname')}: {' '.join(said)}")
    return failing, total


def h2spec(tools, host, port, report):
    return [tools / "h2spec", "--host", host, "--port", port, "--timeout", TIMEOUT, "--junit-report", report]


def run(tools, host, port, report):
    done = subprocess.run([str(word) for word in h2spec(tools, host, port, report)], capture_output=True, text=True, timeout=300)
    assert report.exists(), f"h2spec wrote no report:\n{done.stdout[-2000:]}{done.stderr}"
    return read(report)


def test_inbound_plaintext(origin, tools, cases):
    failing, total = run(tools, origin.address("origin"), 8080, origin.folder / "report.xml")
    cases("inbound, plaintext", failing, total, CASES)


@pytest.mark.parametrize("direct", [False, True], ids=["port", "direct_port"])
def test_inbound_mesh_tls(origin, tools, cases, direct):
    client = Workload(origin.name, "h2spec", "h2spec")
    certificate = Certificate(client, origin.folder)
    with Tunnel(certificate, certificate.name, origin.address("origin"), 8080, direct) as tunnel:  # same service account, same name
        failing, total = run(tools, "127.0.0.1", tunnel.port, origin.folder / "report.xml")
        assert tunnel.opened >= CASES
    client.close()
    cases("inbound, mesh TLS" + (", port 4143" if direct else ""), failing, total, CASES)


def test_outbound(origin, tools, cases):
    report = origin.folder / "report.xml"
    pod = origin.run("h2spec", h2spec(tools, "origin", 80, report))
    code = pod.wait(300)
    assert report.exists(), f"h2spec ended with {code} and wrote no report:\n{pod.log()[-2000:]}"
    failing, total = read(report)
    cases("outbound", failing, total, CASES)
