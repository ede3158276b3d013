"""Looks for bytes on the loopback wire: does the marker that every payload carries ever pass in plain?

Capturing packets needs CAP_NET_RAW in the host's network namespace, for as long as it takes to open one socket:
`wire.py COMMAND...` gets that socket, as root or by sudo, and runs COMMAND, unprivileged, with its number in
TULLE_DEMO_WIRE. `wire.py look MARKER OUT`, run by the demo, counts what passes until SIGTERM.
"""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import procs
from report import Verdict

ETH_P_IP = 0x0800
VARIABLE = "TULLE_DEMO_WIRE"
NONE = ("demo: looking for plain payloads on the wire needs root, or sudo: give ./dev demo the password, or --no-wire, "
        "which leaves that check out")
PROMPT = "Password for sudo, to look for plain payloads in the packets on lo (./dev demo --no-wire does without): "


def open_socket():
    """A socket that sees nothing until it is bound to an interface; raises PermissionError where that is not allowed."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    sniffer.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    return sniffer


def open_by_sudo(*options):
    """The same by a child of sudo, which hands it over; None if that is not to be had."""
    if shutil.which("sudo") is None:
        return None
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as meeting:
        path = os.path.join(folder, "wire")
        meeting.bind(path)
        meeting.listen(1)
        meeting.setblocking(False)
        done = subprocess.run(["sudo", *options, sys.executable, "-B", __file__, "hand-over", path], stdin=subprocess.DEVNULL,
                              capture_output="-n" in options)
        if done.returncode != 0:
            return None
        with meeting.accept()[0] as giver:
            fds = socket.recv_fds(giver, 1, 1)[1]
        return socket.socket(fileno=fds[0])


def hand_over(path):
    with socket.socket(socket.AF_UNIX) as taker, open_socket() as sniffer:
        taker.connect(path)
        socket.send_fds(taker, [b"w"], [sniffer.fileno()])


def obtain(ask):
    """The socket: the one handed down, our own, or sudo's, which may `ask` for a password; None if none is to be had."""
    if os.environ.get(VARIABLE):
        return socket.socket(fileno=int(os.environ[VARIABLE]))
    try:
        return open_socket()
    except PermissionError:
        return open_by_sudo("-n") or (open_by_sudo("-p", PROMPT) if ask else None)


def is_pod(raw):
    """Are these the first bytes of an address in 127.64.0.0/11?"""
    return raw[0] == 127 and 64 <= raw[1] < 96


def look(packet, marker, counts):
    """Counts one IPv4 packet: {"packets": between pods' addresses, "bytes", "plain": those with the marker}."""
    if len(packet) < 40 or packet[9] != socket.IPPROTO_TCP or not (is_pod(packet[12:14]) or is_pod(packet[16:18])):
        return
    counts["packets"] += 1
    counts["bytes"] += len(packet)
    if marker in packet:
        counts["plain"] += 1
        head = (packet[0] & 15) * 4
        ports = int.from_bytes(packet[head:head + 2], "big"), int.from_bytes(packet[head + 2:head + 4], "big")
        counts.setdefault("first", f"{socket.inet_ntoa(packet[12:16])}:{ports[0]} to {socket.inet_ntoa(packet[16:20])}:{ports[1]}")


class Capture:
    """`wire.py look` beside the demo, on the socket that `obtain` gave."""

    def __init__(self, folder, marker, sniffer):
        self.out = folder / "wire.json"
        fd = sniffer.fileno()
        self.process = procs.Process("wire", [sys.executable, "-B", __file__, "look", marker, self.out, fd], folder, pass_fds=(fd,))
        procs.wait_until("packets are captured", lambda: self.out.exists() or not self.process.running(), 5)

    def verdict(self):
        self.process.stop()
        counts = json.loads(self.out.read_text()) if self.out.exists() else {}
        if not counts.get("packets"):
            return Verdict(False, "no packet between pods was captured: " + procs.tail(self.process.log(), 1))
        text = f"the payload's marker was in plain in {counts['plain']} of {counts['packets']} packets to and from pods"
        text += f" ({counts['dropped']} not looked at)" if counts["dropped"] else ""
        return Verdict(counts["plain"] == 0, text + (f"; first: {counts['first']}" if counts["plain"] else ""))


def look_until_ended(marker, out, fd):
    counts, ended = {"packets": 0, "bytes": 0, "plain": 0}, []
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    sniffer = socket.socket(fileno=fd)
    sniffer.bind(("lo", ETH_P_IP))
    sniffer.settimeout(0.2)
    out.write_text("{}", encoding="utf-8")
    while not ended:
        try:
            for _ in range(1000):
                look(sniffer.recv(65535), marker, counts)
        except TimeoutError:
            pass
    dropped = int.from_bytes(sniffer.getsockopt(263, 6, 8)[4:8], "little")  # SOL_PACKET, PACKET_STATISTICS
    out.write_text(json.dumps({**counts, "dropped": dropped}), encoding="utf-8")


def main():
    match sys.argv[1:]:
        case ["look", marker, out, fd]:
            look_until_ended(marker.encode(), pathlib.Path(out), int(fd))
        case ["hand-over", path]:
            hand_over(path)
        case command:
            if sniffer := {"--no-wire", "--help", "-h"}.isdisjoint(command) and (obtain(ask=True) or sys.exit(NONE)):
                sniffer.set_inheritable(True)
            os.environ[VARIABLE] = str(sniffer.fileno()) if sniffer else ""
            os.execvp(command[0], command)


if __name__ == "__main__":
    main()
