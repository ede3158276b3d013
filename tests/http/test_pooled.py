"""Connections to the application that it ends without saying so."""
import json

from support.mesh import PYTHON, SUPPORT

CLOSER = SUPPORT / "closer.py"


def test_posts_to_an_application_that_closes_after_each_answer(mesh):
    """None may be repeated, so none may go on a connection that is about to end."""
    log = mesh.folder / "ids"
    mesh.up()
    mesh.start_pod("closer", "closer", [PYTHON, "-B", CLOSER, "serve", 8080, 0.0005, log], "--port", "http=8080")
    mesh.ready("closer")
    pod = mesh.run("client", [PYTHON, "-B", CLOSER, "ask", "closer", 8080, 600, 200])
    assert pod.wait(60) == 0, pod.log()
    assert json.loads(pod.log().strip().splitlines()[-1]) == {"200": 600}, pod.log()
    assert sorted(int(i) for i in log.read_text().split()) == list(range(600))
