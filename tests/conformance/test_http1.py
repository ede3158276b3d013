"""HTTP/1.1 through real proxies, row by row (http1/README.md)."""
import pathlib
import subprocess

import pytest
from support.mesh import PYTHON

HTTP1 = pathlib.Path(__file__).resolve().parent / "http1"
MANIFEST = """
    apiVersion: v1
    kind: Service
    metadata: {name: recorder, namespace: default}
    spec:
      selector: {app: recorder}
      ports: [{name: http, port: 80, targetPort: http, appProtocol: http}]
    ---
    apiVersion: policy.linkerd.io/v1beta3
    kind: Server
    metadata: {name: recorder, namespace: default}
    spec:
      podSelector: {matchLabels: {app: recorder}}
      port: http
      proxyProtocol: HTTP/1
      accessPolicy: all-unauthenticated
"""


@pytest.fixture
def recorder(mesh):
    mesh.manifest("recorder.yaml", MANIFEST)
    mesh.up()
    mesh.start_pod("recorder", "recorder", [PYTHON, HTTP1 / "recorder.py", 8080, mesh.folder / "log"],
                   "--label", "app=recorder", "--port", "http=8080")
    mesh.ready("recorder")
    return mesh


def test_rows_through_the_inbound_proxy(recorder):
    """Plaintext, straight at the pod's port."""
    done = subprocess.run([PYTHON, HTTP1 / "replay.py", recorder.address("recorder"), "8080", recorder.folder / "log"],
                          text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)


def test_rows_through_two_proxies(recorder):
    """From an application in a pod, by the name of the service."""
    pod = recorder.run("replay", [PYTHON, HTTP1 / "replay.py", "recorder", "80", recorder.folder / "log", "meshed"])
    assert pod.wait(300) == 0, pod.log()
    print(pod.log())
