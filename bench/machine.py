"""What the benches ask of the machine: CPU time and memory of processes, pinning, limits, and its description."""
import os
import pathlib
import platform
import resource

PROXY_CPU, LOAD_CPU = 1, 0


def family(pid):
    """The process and all its descendants."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for task in pathlib.Path(f"/proc/{one}/task").glob("*/children"):
            try:
                queue += [int(c) for c in task.read_text().split()]
            except OSError:
                pass
    return found


def cpu_ns(pids):
    """CPU time of all threads so far."""
    total = 0
    for pid in pids:
        for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except OSError:
                pass
    return total


def memory_mb(pids):
    """(resident, private) in MB; private is what no file backs: it is there once per proxy."""
    rss = private = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                rss += int(line.split()[1])
            if line.startswith("RssAnon:"):
                private += int(line.split()[1])
    return rss / 1024, private / 1024


def pin(pids, *cpus):
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                os.sched_setaffinity(int(task.name), set(cpus))
            except ProcessLookupError:
                pass


def raise_file_limit():
    """As many descriptors as may be had; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, 50_000)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def describe():
    """Of the machine, what a reader needs to judge the figures; nothing that names it."""
    facts = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    total = int(next(line for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal")).split()[1])
    virtual = "hypervisor" in facts.get("flags", "").split()
    return {
        "cpu": facts.get("model name", platform.machine()) + (f" (family {facts['cpu family']}, model {facts['model']})" if "model" in facts else ""),
        "cores": os.cpu_count(),
        "virtual machine": virtual,
        "memory GB": round(total / 1024 / 1024),
        "kernel": ".".join(platform.release().split("-")[0].split(".")[:3]),
        "system": next((line.split("=", 1)[1].strip('"') for line in pathlib.Path("/etc/os-release").read_text().splitlines()
                        if line.startswith("PRETTY_NAME=")), "?"),
        "load before": round(os.getloadavg()[0], 1),
    }
