"""The standard gRPC interop cases with grpc-go's client and server, each in a pod: through two proxies. Left out are the
cases that need credentials of a cloud, and pick_first_unary, which this server does not serve (it gives no id)."""
import json

import pytest
from support.mesh import PYTHON, SUPPORT, Mesh

TOOL = "grpc-go 1.83.1 interop"
WHERE = "client pod → service → server pod"
PORT = 10000
CASES = """
    empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server
    cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata
    unimplemented_method unimplemented_service rpc_soak channel_soak orca_per_rpc orca_oob
""".split()
# The policy that keeps the servers' load reports, which these cases look at.
ORCA = '--service_config_json={"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}'


@pytest.fixture(scope="module")
def results(binaries, tools, tmp_path_factory):
    """case → (exit code, the client's output), all run by one pod."""
    with Mesh(tmp_path_factory.mktemp("grpc")) as mesh:
        mesh.up()
        mesh.run("server", [tools / "grpc-interop-server", "--port", PORT], "--port", f"grpc={PORT}")
        mesh.ready("server")
        client = [str(tools / "grpc-interop-client"), "--server_host=server", f"--server_port={PORT}"]
        commands, out = mesh.folder / "commands.json", mesh.folder / "results.json"
        commands.write_text(json.dumps({case: [*client, f"--test_case={case}", *([ORCA] if case.startswith("orca") else [])] for case in CASES}))
        pod = mesh.run("client", [PYTHON, SUPPORT / "batch.py", commands, out])
        assert pod.wait(300) == 0, pod.log()
        assert mesh.edge_is_mtls("client", "server")
        yield json.loads(out.read_text())


@pytest.mark.parametrize("case", CASES)
def test_case(results, case):
    code, said = results[case]
    assert code == 0, said
