"""gRPC by Debian's grpcio through two proxies: trailers, statuses, cancellation, deadlines, messages of 4 MiB, and flow
control with a reader that stalls."""
import json

import pytest
from support.grpc_peer import CASES
from support.mesh import PYTHON, SUPPORT, Mesh

TOOL = "grpcio"
WHERE = "client pod → service → server pod"


@pytest.fixture(scope="module")
def results(binaries, tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("grpcio")) as mesh:
        mesh.up()
        mesh.run("server", [PYTHON, SUPPORT / "grpc_peer.py", "serve", 9000], "--port", "grpc=9000")
        mesh.ready("server")
        out = mesh.folder / "results.json"
        pod = mesh.run("client", [PYTHON, SUPPORT / "grpc_peer.py", "ask", "server:9000", out])
        assert pod.wait(300) == 0, pod.log()
        assert mesh.edge_is_mtls("client", "server")
        yield json.loads(out.read_text())


@pytest.mark.parametrize("case", CASES)
def test_case(results, case):
    assert results[case] == "ok", results[case]
