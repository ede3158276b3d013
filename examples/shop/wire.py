"""Looks for bytes on the loopback wire: does the marker that every payload carries ever pass in plain?

Capturing packets needs CAP_NET_RAW in the host's network namespace. As a program of its own
(`wire.py MARKER OUT`) it counts until OUT.stop appears, or OUT goes away, and leaves its counts in OUT: only it needs
the privilege, and nobody needs the privilege to end it.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import procs
from report import Verdict

ETH_P_IP = 0x0800


def capture():
    """A raw socket on `lo`; raises PermissionError where that is not allowed."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    sniffer.bind(("lo", ETH_P_IP))
    sniffer.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    return sniffer


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
    """wire.py running beside the demo, where it is allowed: as root, or by sudo without a password."""

    def __init__(self, folder, marker):
        self.out, self.end, self.process = folder / "wire.json", folder / "wire.json.stop", None
        command = [sys.executable, "-B", __file__, marker, str(self.out)]
        if os.getuid() != 0:
            if shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode != 0:
                return
            command = ["sudo", "-n", *command]
        self.process = procs.Process("wire", command, folder)
        procs.wait_until("packets can be captured", lambda: self.out.exists() or not self.process.running(), 5)

    def stop(self):
        if self.process and self.process.running():
            self.end.touch()
            self.process.wait(10)

    def verdict(self):
        if self.process is None:
            return Verdict(None, "payloads on the wire: not looked at (capturing packets needs root, or sudo without a password)")
        self.stop()
        counts = json.loads(self.out.read_text()) if self.out.exists() else {}
        if not counts.get("packets"):
            return Verdict(False, "no packet between pods was captured: " + procs.tail(self.process.log(), 1))
        text = f"the payload's marker was in plain in {counts['plain']} of {counts['packets']} packets to and from pods"
        text += f" ({counts['dropped']} not looked at)" if counts["dropped"] else ""
        return Verdict(counts["plain"] == 0, text + (f"; first: {counts['first']}" if counts["plain"] else ""))


def main():
    marker, out = sys.argv[1].encode(), sys.argv[2]
    counts = {"packets": 0, "bytes": 0, "plain": 0}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sniffer = capture()
    sniffer.settimeout(0.2)
    with open(out, "w", encoding="utf-8") as file:
        file.write("{}")
    while os.path.exists(out) and not os.path.exists(out + ".stop"):
        try:
            for _ in range(1000):
                look(sniffer.recv(65535), marker, counts)
        except TimeoutError:
            pass
    dropped = int.from_bytes(sniffer.getsockopt(263, 6, 8)[4:8], "little")  # SOL_PACKET, PACKET_STATISTICS
    with open(out, "w", encoding="utf-8") as file:
        json.dump({**counts, "dropped": dropped}, file)


if __name__ == "__main__":
    main()
