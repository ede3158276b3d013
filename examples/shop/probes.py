"""What somebody without an identity gets from the shop: nothing, but from the entry."""
import pathlib
import socket
import sys

from report import Verdict

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "build/python"))  # the stubs of rates.proto

# What a plain client sends to each service, and what in the answer would show that the application got it.
PROBES = {"web": (b"GET /healthz HTTP/1.1\r\nHost: web\r\n\r\n", b'"ok": true'),
          "api": (b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n", b'"ok": true'),
          "store": (b"PING\r\n", b"PONG"), "mail": (b"a NOOP\r\n", b"OK")}


def answers(service, address, port, seconds=1.0):
    """Does the application answer a plain client?"""
    if service == "rates":
        return answers_grpc(address, port, seconds)
    data, sign = PROBES[service]
    answer = b""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.sendall(data)
            while sign not in answer and (chunk := connection.recv(65536)):
                answer += chunk
    except OSError:
        pass
    return sign in answer


def answers_grpc(address, port, seconds):
    import grpc
    import rates_pb2
    import rates_pb2_grpc
    with grpc.insecure_channel(f"{address}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            rates_pb2_grpc.RatesStub(channel).Convert(rates_pb2.RateRequest(currency="EUR"), timeout=seconds)
            return True
        except grpc.RpcError:
            return False


def served_ports(pod):
    """Where a pod's proxy takes plain connections on the host: its address, and each declared port."""
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
    return [(pod["status"]["podIP"], p.get("tulle.dev/servedPort", p["containerPort"])) for p in ports]


def check_probes(mesh, shop):
    """Without an identity only the entry answers. A pod that has ended has nothing to probe."""
    wrong, count, gone = [], 0, []
    for program in shop.programs:
        pod = mesh.pod(program.name) if mesh.process(program.name).running() else None
        if pod is None:
            gone.append(program.name)
            continue
        for address, port in served_ports(pod):
            count += 1
            answered = answers(program.service, address, port)
            if answered != (program.service == "web"):
                wrong.append(f"{program.name} at {address}:{port} {'answered' if answered else 'refused'}")
    text = f"plain probes of {count} ports: all refused but the entry" if not wrong else "plain probes: " + "; ".join(wrong)
    text += f" ({', '.join(gone)} had ended)" if gone else ""
    return Verdict(not wrong and count > 0, text)
