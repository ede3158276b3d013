"""Looks for bytes on the loopback wire: does the marker that every payload carries ever pass in plain?

Capturing packets needs CAP_NET_RAW in the host's network namespace. As a program of its own
(`wire.py MARKER OUT`) it counts until SIGTERM and leaves its counts in OUT, so that only it needs the privilege.
"""
import ipaddress
import json
import signal
import socket
import sys

ETH_P_IP = 0x0800
PODS = ipaddress.ip_network("127.64.0.0/11")


def capture():
    """A raw socket on `lo`; raises PermissionError where that is not allowed."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    sniffer.bind(("lo", ETH_P_IP))
    sniffer.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    return sniffer


def is_pod(raw):
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


def main():
    marker, out = sys.argv[1].encode(), sys.argv[2]
    counts = {"packets": 0, "bytes": 0, "plain": 0}
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sniffer = capture()
    sniffer.settimeout(0.2)
    with open(out, "w", encoding="utf-8") as file:
        file.write("{}")
    while not stopped:
        try:
            look(sniffer.recv(65535), marker, counts)
        except TimeoutError:
            pass
    dropped = int.from_bytes(sniffer.getsockopt(263, 6, 8)[4:8], "little")  # SOL_PACKET, PACKET_STATISTICS
    with open(out, "w", encoding="utf-8") as file:
        json.dump({**counts, "dropped": dropped}, file)


if __name__ == "__main__":
    main()
