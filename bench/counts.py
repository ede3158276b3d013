"""What one request costs a proxy in counts that do not jitter: instructions, system calls and allocations, by stage.

The worker thread of each proxy of a real pair is single-stepped (bench_step) while one connection asks a few times, one
HTTP/1.1 GET with an answer of 1 KiB at a time. The CPU's own features are masked for libc and AWS-LC, so that two
machines run the same code.
"""
import bisect
import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import peers
import procs
from machine import PROXY_CPU, family

REQUESTS = 2
SLOWEST = 120  # seconds that they may take; a second where the CPUs are free
BASELINE = peers.ROOT / "bench/counts.json"
SYSCALLS = {0: "read", 1: "write", 20: "writev", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 232: "epoll_wait", 281: "epoll_pwait",
            441: "epoll_pwait2", 233: "epoll_ctl", 275: "splice",
            51: "getsockname", 54: "setsockopt", 55: "getsockopt", 202: "futex", 288: "accept4"}

# Where a file of ours is, so is its stage; the first that fits. libs/base is its caller's.
STAGES = [
    ("libs/tls/", "TLS"), ("libs/httpio/", "HTTP connections"), ("libs/http/", "HTTP codecs"), ("libs/rt/", "event loop"), ("libs/net/", "sockets"),
    ("libs/observe/", "metrics"), ("proxy/balance/", "balancing"), ("proxy/model/", "routing and policy"), ("proxy/discovery/", "discovery"),
    ("proxy/outbound/", "outbound script"), ("proxy/inbound/", "inbound script"), ("proxy/worker/", "shared script"),
]


class Unable(Exception):
    """This machine does not let us count; the text says why."""


class Counted(peers.Tulle):
    """Our pair, with what differs between CPUs masked."""
    name = "counted"
    environment = {f"LINKERD2_PROXY_{name}": "10m" for name in (  # a stepped proxy is slow, and nothing may end for it
        "INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", "OUTBOUND_HTTP_FAILFAST_TIMEOUT", "INBOUND_HTTP_FAILFAST_TIMEOUT",
        "INBOUND_CONNECT_TIMEOUT", "OUTBOUND_CONNECT_TIMEOUT")}

    def start(self):
        wrapper = self.folder / "masked/tulle-proxy"
        wrapper.parent.mkdir()
        mask = ",".join(f"-{f}" for f in ("AVX512F", "AVX512VL", "AVX512BW", "AVX2", "AVX", "ERMS", "FSRM", "BMI2", "RTM"))
        wrapper.write_text(f'#!/bin/sh\nexport GLIBC_TUNABLES=glibc.cpu.hwcaps={mask} OPENSSL_ia32cap=~0x1000000000000000:~0xffffffffffffffff\n'
                           f'exec setarch -R "{peers.meshes.BIN}/tulle-proxy" "$@"\n')
        wrapper.chmod(0o755)
        self.proxy = wrapper
        super().start()


def workers(pair):
    """The worker thread of each proxy: the one that works most while there is load."""
    def threads(pids):
        return {int(task.name): int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{pids[0]}/task").iterdir()}

    before = [threads(pids) for pids in pair.proxies]
    pair.load("http1", 1, 1, 0)
    return [max(after, key=lambda t: after[t] - then.get(t, 0)) for then, after in zip(before, map(threads, pair.proxies))]


def stopped_load(pair):
    """The pid of the load generator while it has stopped itself: at first with its connection open and used, and when it
    has all answers."""
    for pid in family(pair.client.pid):
        try:
            name, _, rest = pathlib.Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "bench_loadgen" and rest.split()[0] == "T":
            return pid
    return None


def step(pair, binaries, requests):
    """The output of bench_step for each of the two proxies, over so many requests on one connection."""
    steppers, threads = [], workers(pair)
    with pair.send(pair.words("http1", 600, 1, -requests)) as out:
        load = procs.wait_until("the load generator has its first answer", lambda: stopped_load(pair), 30)
        try:
            for thread in threads:
                command = ["taskset", "-c", str(PROXY_CPU), binaries / "bench_step", str(thread)]
                steppers.append(subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
                if steppers[-1].stdout.readline() != "ready\n":
                    raise Unable(steppers[-1].stderr.read().strip())
            os.kill(load, signal.SIGCONT)  # from now on it is not stopped, until it stops itself
            procs.wait_until("the load generator has all answers", lambda: stopped_load(pair), SLOWEST)
            for stepper in steppers:
                stepper.send_signal(signal.SIGTERM)
            texts = [stepper.communicate(timeout=SLOWEST)[0] for stepper in steppers]
        except (TimeoutError, subprocess.TimeoutExpired) as e:
            raise Unable(f"this machine has no time for it: {e}") from None
        finally:
            for stepper in steppers:
                stepper.kill()
                stepper.wait()
        os.kill(load, signal.SIGCONT)
        pair.answer(out.read())
    return texts


class Code:
    """The executable files that a process has mapped: whose an address is."""

    def __init__(self, pid):
        self.ranges = []  # (start, end, what an address of the file is above it, file)
        first = {}
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split(None, 5)
            start, end = (int(x, 16) for x in words[0].split("-"))
            if len(words) == 6:
                first.setdefault(words[5], start - int(words[2], 16))
                if "x" in words[1]:
                    self.ranges.append((start, end, first[words[5]], words[5]))

    def place(self, address):
        """(file, address in it)."""
        for start, end, base, file in self.ranges:
            if start <= address < end:
                return file, address - base
        return "?", address


def symbols(file):
    """Sorted [(address, name)] of the functions of an executable or library."""
    out = []
    for flags in ([], ["-D"]):
        done = subprocess.run(["llvm-nm-19", "--defined-only", *flags, file], text=True, capture_output=True)
        out += [(int(w[0], 16), w[2].split("@")[0]) for w in map(str.split, done.stdout.splitlines()) if len(w) == 3 and w[1] in "tTwWiV"]
    return sorted(out)


def stages_of(program, addresses):
    """{address: stage} by the line tables: the innermost function, inlined or not, whose file belongs to a stage."""
    done = subprocess.run(["llvm-symbolizer-19", "--obj", program, "--output-style=JSON"], text=True, capture_output=True,
                          input="".join(f"{a:#x}\n" for a in addresses))
    out = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        for frame in answer.get("Symbol", []):
            file = re.search(r"(?:^|/)((?:libs|proxy)/\w+/)", frame["FileName"])
            stage = next((s for folder, s in STAGES if file and file[1] == folder), None)
            if stage:
                out[int(answer["Address"], 16)] = stage
                break
    return out


# For what line tables do not tell: by the (mangled) name; the first that fits.
NAMES = [(re.compile(pattern), stage) for pattern, stage in (
    (r"5tulle6httpio", "HTTP connections"), (r"5tulle4http", "HTTP codecs"), (r"5tulle3tls", "TLS"), (r"5tulle7observe", "metrics"),
    (r"5tulle5proxy8outbound", "outbound script"), (r"5tulle5proxy7inbound", "inbound script"), (r"5tulle5proxy", "shared script"),
    (r"5tulle2rt", "event loop"), (r"5tulle3net", "sockets"), (r"^_ZNK?5tulle|^_ZNSt|^_ZSt", "buffers and strings"),
    (r"aes|gcm|ghash|SSL|ssl|EVP|CRYPTO|OPENSSL|BIO_|CBB_|CBS_|aead|AEAD|sha\d|SHA\d|ERR_", "TLS"),
    (r"alloc|free|^_Zn|^_Zd|unlink_chunk", "allocation (libc)"), (r"^_*(mem(move|cpy|set|cmp|chr|rchr)|str(len|cmp|ncmp|chr))", "copies (libc)"))]
ALLOCATION = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "memalign"}


def account(pid, text, requests):
    """bench_step's output as {"instructions": {stage: per request}, "syscalls": {name: …}, "allocations": …}."""
    code = Code(pid)
    files = collections.defaultdict(dict)
    syscalls = {}
    for words in map(str.split, text.splitlines()):
        if words[0] == "syscall":
            syscalls[SYSCALLS.get(int(words[1]), f"number {words[1]}")] = int(words[2]) / requests
        else:
            file, at = code.place(int(words[0], 16))
            files[file][at] = int(words[1])
    stages, allocations = collections.Counter(), 0
    program = os.readlink(f"/proc/{pid}/exe")
    for file, counted in files.items():
        known = symbols(file) if file.startswith("/") else []
        starts = [a for a, _ in known]
        by_line = stages_of(file, counted) if file == program else {}
        for at, count in counted.items():
            index = bisect.bisect_right(starts, at) - 1
            name = known[index][1] if index >= 0 else ""
            stages[by_line.get(at) or stage_of_symbol(name)] += count
            if index >= 0 and starts[index] == at and any(n in ALLOCATION for a, n in known[max(0, index - 4):index + 1] if a == at):
                allocations += count
    return {"instructions": {k: round(v / requests) for k, v in stages.most_common()}, "syscalls": syscalls, "allocations": round(allocations / requests, 2)}


def stage_of_symbol(name):
    """For code without line tables of ours: AWS-LC, libc, libstdc++, and what the compiler made of several files."""
    return next((stage for pattern, stage in NAMES if pattern.search(name)), "libc, other")


def count(folder, binaries, requests=REQUESTS):
    """{"outbound": …, "inbound": …} as account() says."""
    pair = Counted(folder, folder, binaries, 100)
    try:
        pair.start()
        texts = step(pair, binaries, requests)
        return {side: account(pids[0], text, requests) for side, pids, text in zip(("outbound", "inbound"), pair.proxies, texts)}
    finally:
        pair.stop()


MARGIN = 0.03
# How many ticks of the timer wheel a turn finds depends on how slow the stepping is.
LOOSE = {"event loop": 0.6}


def growth(side, baseline, counted):
    """What has grown too much, as sentences."""
    was, now = baseline["instructions"], counted["instructions"]
    out = []
    tight = [sum(v for k, v in x.items() if k not in LOOSE) for x in (was, now)]
    if tight[1] > tight[0] * (1 + MARGIN):
        stages = sorted(((now.get(k, 0) - was.get(k, 0), k) for k in {*was, *now} - set(LOOSE)), reverse=True)
        worst = ", ".join(f"{stage} {was.get(stage, 0):,} → {now.get(stage, 0):,}" for more, stage in stages[:3] if more > 0)
        out.append(f"{side}: {tight[1]:,} instructions a request, {tight[0]:,} before; most in: {worst}")
    out += [f"{side}: {k}: {now.get(k, 0):,} instructions a request, {was.get(k, 0):,} before" for k, margin in LOOSE.items()
            if now.get(k, 0) > was.get(k, 0) * (1 + margin)]
    calls = [sum(x["syscalls"].values()) for x in (baseline, counted)]
    if calls[1] > calls[0] * (1 + MARGIN):
        out.append(f"{side}: {calls[1]:g} system calls a request, {calls[0]:g} before: {counted['syscalls']}")
    if counted["allocations"] > baseline["allocations"] * (1 + MARGIN):
        out.append(f"{side}: {counted['allocations']:g} allocations a request, {baseline['allocations']:g} before")
    return out


def main():
    """`python3 bench/counts.py [BIN]` counts and writes the baseline anew; for a change that is worth what it costs."""
    binaries = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else peers.ROOT / "build/dev/bin").resolve()
    peers.meshes.BIN = binaries
    with tempfile.TemporaryDirectory(prefix="tulle-counts-") as folder:
        os.chmod(folder, 0o711)
        counted = count(pathlib.Path(folder), binaries)
    BASELINE.write_text(json.dumps(counted, indent=1) + "\n")
    print(BASELINE.read_text())


if __name__ == "__main__":
    main()
