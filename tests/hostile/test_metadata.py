"""What an application dials itself is forwarded untouched, link-local addresses too: cloud metadata, credentials and
node-local DNS live there. On a machine of the test's own, whose neighbour is not on the loopback."""
import json
import pathlib
import subprocess

import pytest
from support.mesh import PYTHON

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def seen(binaries, tmp_path_factory):
    command = ["unshare", "-Urn", PYTHON, "-B", HERE / "metadata.py", tmp_path_factory.mktemp("metadata")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name, host", [("metadata", "169.254.169.254"), ("outside", "10.77.0.2")])
def test_what_the_application_dials_is_forwarded(seen, name, host):
    text = seen[name].replace("\r", "")
    assert "HTTP/1.1 200 OK\n" in text, text
    head, _, body = text.partition("\n\n")
    lines = body.lower().splitlines()
    assert lines[0] == "put /latest/api/token?a=%2f http/1.1", text
    assert f"host: {host}" in lines and "x-aws-ec2-metadata-token-ttl-seconds: 60" in lines, text
    assert "from 10.77.0.1" in lines, "the machine's own address, not the pod's, which is nowhere but on its loopback"
    assert not any("l5d-" in x or x.startswith(("via:", "x-forwarded", "forwarded:")) for x in lines), text
