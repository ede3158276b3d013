"""What somebody without an identity gets from the shop: nothing, but from the entry."""
import socket

from report import Verdict

# What a plain client sends to each service, and what in the answer would show that the application got it.
PROBES = {"web": (b"GET /healthz HTTP/1.1\r\nHost: web\r\n\r\n", b'"ok": true'), "api": (b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n", b'"ok": true'),
          "store": (b"PING\r\n", b"PONG"), "mail": (b"a NOOP\r\n", b"OK"),
          "rates": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\0\0\0\4\1\0\0\0\0")}


def probe(address, port, data, seconds=1.0):
    """What comes back to a plain client in `seconds`."""
    answer = b""
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.sendall(data)
            while chunk := connection.recv(65536):
                answer += chunk
    except OSError:
        pass
    return answer


def served_ports(pod):
    """Where a pod's proxy takes plain connections on the host: its address, and each declared port."""
    ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
    return [(pod["status"]["podIP"], p.get("hostPort") or p["containerPort"]) for p in ports]


def check_probes(mesh, shop):
    """Without an identity only the entry answers."""
    wrong, count = [], 0
    for program in shop.programs:
        data, sign = PROBES[program.service]
        for address, port in served_ports(mesh.pod(program.name)):
            count += 1
            answered = sign in probe(address, port, data)
            if answered != (program.service == "web"):
                wrong.append(f"{program.name} at {address}:{port} {'answered' if answered else 'refused'}")
    text = f"plain probes of {count} ports: all refused but the entry" if not wrong else "plain probes: " + "; ".join(wrong)
    return Verdict(not wrong and count > 0, text)
