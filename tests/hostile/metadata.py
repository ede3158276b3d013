"""A machine of its own (a user and a network namespace, entered by `unshare -Urn`) with a neighbour at 169.254.169.254, as
clouds have it, and at 10.77.0.2, a host outside; a mesh on it; and a pod that asks both. Prints what came.

metadata.py FOLDER"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples/shop"), str(ROOT / "build/python")]
from support.mesh import PYTHON, Mesh, wait_until  # noqa: E402

SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_PUT(self):
        text = "\\n".join([self.requestline, "from " + self.client_address[0], *(f"{k}: {v}" for k, v in self.headers.items())]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler).serve_forever()
"""


def sh(text):
    subprocess.run(["sh", "-ec", text], check=True)


def main(folder):
    neighbour = subprocess.Popen(["unshare", "-n", "sh", "-ec", f"read go; exec {PYTHON} -c '{SERVER}'"], stdin=subprocess.PIPE, text=True)
    try:
        sh(f"""
            ip link set lo up
            ip link add here type veth peer name there
            ip addr add 10.77.0.1/24 dev here
            ip link set here up
            ip link set there netns {neighbour.pid}
            ip route add 169.254.169.254/32 dev here
            in_there="nsenter -t {neighbour.pid} -n"
            $in_there ip addr add 10.77.0.2/24 dev there
            $in_there ip addr add 169.254.169.254/32 dev there
            $in_there ip link set there up
        """)
        neighbour.stdin.write("go\n")
        neighbour.stdin.flush()
        wait_until("the neighbour answers", lambda: subprocess.run(["curl", "-s", "-X", "PUT", "10.77.0.2"], capture_output=True).returncode == 0, 10)
        with Mesh(folder) as mesh:
            mesh.up()
            seen = {}
            for name, host in (("metadata", "169.254.169.254"), ("outside", "10.77.0.2")):
                path = "/latest/api/token?a=%2F"
                seen[name] = mesh.curl(name, "-i", "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", f"http://{host}{path}")[1]
            print(json.dumps(seen))
    finally:
        neighbour.terminate()
        neighbour.wait()


if __name__ == "__main__":
    # In here everybody is uid 0, whose usual folder in /tmp may be the real root's.
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        os.environ["XDG_RUNTIME_DIR"] = runtime
        main(sys.argv[1])
