"""What is measured of each pair: a row is one load; it gives several figures."""
import contextlib
import dataclasses

from machine import cpu_ns

LANES = 50


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    what: str              # as bench_loadgen's first word
    lanes: int = LANES
    rate: int = 0          # requests a second; 0: as fast as it goes
    path: str = "/1k"
    rounds: int = 3
    seconds: float = 2.0
    quick: bool = False    # also measured by --quick

    def measure(self, pair, seconds):
        """Runs the load once: what it says, and the CPU time of each proxy per unit of work."""
        words = [seconds, self.lanes] + ([] if self.what in ("push", "connect", "connect_full") else [self.rate, self.path])
        proxies = pair.proxies_of(self.what)
        before = [cpu_ns(pids) for pids in proxies]
        result = pair.load(self.what, *words)
        used = [cpu_ns(pids) - b for pids, b in zip(proxies, before)]
        if "bytes" in result:
            each = [u / 1e9 / (result["bytes"] * 8 / 1e9) for u in used]  # s per Gbit
        else:
            each = [u / 1e3 / max(1, result.get("requests", result.get("connections", 0))) for u in used]  # µs
        result["cpu_each"] = each
        result["cpu"] = sum(each) / len(each) if each else None  # per proxy
        return result


ROWS = [
    Row("HTTP/1.1 1 KiB, 500/s", "http1", rate=500, seconds=3),
    Row("HTTP/1.1 1 KiB, 2,000/s", "http1", rate=2000, seconds=3, quick=True),
    Row("HTTP/1.1 1 KiB, saturated", "http1", quick=True),
    Row("HTTP/1.1 100 KiB, saturated", "http1", path="/100k", rounds=2),
    Row("HTTP/2 1 KiB, 2,000/s", "http2", rate=2000, rounds=2),
    Row("HTTP/2 1 KiB, saturated", "http2", rounds=2),
    Row("gRPC unary, 2,000/s", "unary", rate=2000, rounds=2),
    Row("gRPC unary, saturated", "unary", rounds=2, quick=True),
    Row("gRPC streaming, 2,000 messages/s", "stream", rate=2000, rounds=2),
    Row("gRPC streaming, saturated", "stream", rounds=2),
    Row("opaque TCP, 1 stream", "push", lanes=1, rounds=2, quick=True),
    Row("opaque TCP, 16 streams", "push", lanes=16, rounds=2),
    Row("new connections, resumed", "connect", lanes=8, rounds=2),
    Row("new connections, full handshake", "connect_full", lanes=8, rounds=2, quick=True),
]

HELD = (100, 1000, 10_000)  # the last, or as many as a process may have here
STARTS = 5


@contextlib.contextmanager
def attempt(pair, what, notes, progress):
    """What does not work with a peer that the user named is left out, with a note. All others must do all."""
    try:
        yield
    except SystemExit as e:
        if not pair.may_fail:
            raise
        pair.failed.add(what)
        notes.append(f"SKIPPED: {what}: {e}")
        progress(notes[-1])


def measure_rows(rows, pairs, quick, notes, progress):
    """{row name: {pair name: [result, …]}}; result n of all pairs is of the same round. The first pair rotates."""
    results = {row.name: {} for row in rows}
    order = list(pairs.values())
    for number in range(1 if quick else max(row.rounds for row in rows)):
        order.append(order.pop(0))
        for row in rows:
            if number >= row.rounds:
                continue
            for pair in order:
                if row.what not in pair.protocols or row.name in pair.failed:
                    continue
                seconds = min(1.0, row.seconds) if quick else row.seconds
                with attempt(pair, row.name, notes, progress):
                    result = row.measure(pair, seconds)
                    results[row.name].setdefault(pair.name, []).append(result)
                    progress(f"round {number + 1}: {row.name}: {pair.name}: {brief(result)}")
                if row.name in pair.failed:
                    results[row.name].pop(pair.name, None)
    return results


def brief(result):
    cpu = "" if result["cpu"] is None else f", {result['cpu']:.3g} {'s CPU per Gbit' if 'bytes' in result else 'µs CPU'}"
    if "bytes" in result:
        return f"{result['gbit_s']:.2f} Gbit/s{cpu}"
    tail = f", p99 {result['p99_us']:.0f} µs" if "p99_us" in result else ""
    return f"{result['rate']:.0f}/s{tail}{cpu}"


def held(file_limit):
    """HELD, cut to what fits: a proxied connection takes two descriptors of each proxy."""
    return tuple(min(count, (file_limit - 600) // 2) for count in HELD)


def measure_memory(pairs, counts, notes, progress):
    """{pair name: {what: [(resident, private) of each proxy]}}. `idle` was taken at start."""
    out = {}
    for pair in pairs.values():
        if not pair.proxies:
            continue
        out[pair.name] = {"idle": pair.idle, "after load": pair.memory()}
        for count in counts if "hold" in pair.protocols else ():
            with attempt(pair, f"memory, {count:,} idle connections", notes, progress), pair.holding(count):
                found = out[pair.name][f"{count:,} idle connections"] = pair.memory()
                progress(f"memory: {pair.name}: {count} idle connections: {' / '.join(f'{m[0]:.1f}' for m in found)} MB")
    return out


def measure_starts(pairs, count, notes, progress):
    """{pair name: [ms, …]}; the pairs are good for nothing else after it."""
    out = {}
    for pair in pairs.values():
        if not pair.proxies:
            continue
        with attempt(pair, "start to ready", notes, progress):
            out[pair.name] = [pair.start_to_ready_ms() for _ in range(count)]
            progress(f"start to ready: {pair.name}: {min(out[pair.name]):.1f} ms")
    return out
