"""What the load generator's records say: figures per edge, shares per instance, and the demo's conditions.

Everything here is a pure function of records; demo.py collects them and prints what comes out.
"""
import dataclasses
import json

EDGES = [("load", "web"), ("web", "api"), ("api", "rates"), ("api", "store"), ("api", "mail")]
SIBLINGS = ["api-1", "api-2"]  # the instances of one version
NEEDS = {"price": ("rates", "store"), "history": ("rates",), "order": ("store",), "mail": ("mail",)}


class Records:
    """The records of a growing file, read as they come."""

    def __init__(self, path):
        self.path, self.offset, self.all = path, 0, []

    def read(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return self.all
        whole, _, _rest = data.rpartition(b"\n")
        if whole:
            self.offset += len(whole) + 1
            self.all += [json.loads(line) for line in whole.splitlines()]
        return self.all


def percentile(values, share):
    """The value below which `share` (0 to 1) of the sorted `values` lie; None of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


@dataclasses.dataclass
class Figures:
    """One edge: requests, those that succeeded, seconds watched, and latencies in milliseconds, sorted."""
    count: int = 0
    good: int = 0
    seconds: float = 0
    latencies: list = dataclasses.field(default_factory=list)

    @property
    def success(self):
        return self.good / self.count if self.count else None

    @property
    def rate(self):
        return self.count / self.seconds if self.seconds else 0.0

    def at(self, share):
        return percentile(self.latencies, share)


def seconds_of(records):
    times = [r["t"] for r in records]
    return max(times) - min(times) if len(times) > 1 else 0.0


def edge_figures(records):
    """{edge: Figures} as the caller of each edge saw it. A failed request counts against each edge that it needed and
    of which no answer is known."""
    out = {edge: Figures(seconds=seconds_of(records)) for edge in EDGES}
    for record in records:
        seen = record.get("edges", {})
        entry = out["load", "web"]
        entry.count += 1
        entry.good += record["ok"]
        entry.latencies.append(record["ms"])
        for edge in EDGES[1:]:
            name = edge[1]
            if name in seen:
                out[edge].latencies.append(seen[name])
            if name in seen or name == "api" or name in NEEDS[record["kind"]]:
                out[edge].count += 1
                out[edge].good += record["ok"] or (name in seen and name != "api")
    for figures in out.values():
        figures.latencies.sort()
    return out


def instance_figures(records):
    """{instance of api: Figures}, latencies end to end."""
    out = {}
    for record in records:
        if "instance" in record:
            figures = out.setdefault(record["instance"], Figures(seconds=seconds_of(records)))
            figures.count += 1
            figures.good += record["ok"]
            figures.latencies.append(record["ms"])
    for figures in out.values():
        figures.latencies.sort()
    return dict(sorted(out.items()))


def slow_windows(records):
    """The times, as (begin, end) in Unix seconds, at which an instance was slow on purpose."""
    return sorted({tuple(r["slow_window"]) for r in records if r.get("slow_window")})


def share(records, instance, begin, end):
    """(the instance's share of the requests due in [begin, end) as a multiple of an equal share among the instances of its
    version, their requests). What a version gets is the route's matter, and not looked at."""
    seen = [r["instance"] for r in records if begin <= r["t"] < end and r.get("instance") in SIBLINGS]
    return (seen.count(instance) / len(seen) * len(SIBLINGS) if seen else 0.0), len(seen)


@dataclasses.dataclass
class Verdict:
    """One condition: does it hold (None: could not be looked at), and the sentence that says what was seen."""
    holds: bool | None
    text: str


def check_slow(records, instance, full, ended=()):
    """While slow the instance gets at most half of an equal share; with `full`, from 30 s after it is within 20 % of
    equal. `ended`: the instances that did; without one of the version nobody is there to share with, and a time that its
    last answer does not outlast is not judged."""
    windows = [w for w in slow_windows(records) if records and w[1] <= records[-1]["t"]]
    if not windows:
        return [Verdict(False, f"{instance} was never seen slow for a whole slow time")]
    begin, end = windows[0]
    gone = {name: max([r["t"] for r in records if r.get("instance") == name], default=begin) for name in ended if name in SIBLINGS}

    def verdict(since, until, low, high, when, range_text):
        got, seen = share(records, instance, since, until)
        if any(last < until for last in gone.values()):
            return Verdict(None, f"{instance}'s share {when}: not looked at, for {' and '.join(gone)} ended")
        return Verdict(seen >= 100 and low <= got <= high,
                       f"{instance} got {got:.2f} of an equal share {when} ({seen} requests; {range_text})")
    out = [verdict(begin, end, 0, 0.5, "while slow", "at most 0.50")]
    if full:
        out.append(verdict(end + 30, end + 45, 0.8, 1.2, "30 s after", "0.80 to 1.20"))
    return out


def check_success(records, ended=()):
    bad = [r for r in records if not r["ok"]]
    text = f"{len(records)} requests sent, {len(records) - len(bad)} answered right, {len(bad)} not"
    if bad:
        text += f"; the first: {bad[0]['kind']} {bad[0].get('status', '')} {bad[0].get('error', '')}"
    text += f" ({', '.join(ended)} ended meanwhile)" if ended else ""
    return Verdict(bool(records) and not bad, text)


def check_traffic(figures):
    idle = [f"{a} → {b}" for (a, b), f in figures.items() if not f.count]
    return Verdict(not idle, f"no traffic on {', '.join(idle)}" if idle else "every edge carried traffic")


def check_greeting(baseline, meshed):
    """The server that speaks first is heard within 20 ms of what it takes without the mesh."""
    before, after = (f["api", "mail"].at(0.5) for f in (baseline, meshed))
    if before is None or after is None:
        return Verdict(False, "no greeting was measured")
    return Verdict(after <= before + 20, f"mail's greeting took {after:.1f} ms, without the mesh {before:.1f} (p50; at most 20 more)")
