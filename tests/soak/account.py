"""Who was asked what, and what became of it: every request of load.py is answered once, or failed for a reason that was
allowed at the moment, or lost. Pure."""
import collections
import dataclasses
import json
import re

DEADLINE = 29.9  # load.py gives up after 30 s


@dataclasses.dataclass
class Excuse:
    """Why requests that were open at some moment in [begin, end] may have failed. `protocols` None: all."""
    why: str
    begin: float
    end: float
    protocols: tuple | None = None
    error: str = ""  # a regular expression that the error must fit

    def covers(self, record):
        return (record["t"] <= self.end and record["end"] >= self.begin and
                (self.protocols is None or record["protocol"] in self.protocols) and
                re.search(self.error, record.get("error", "")) is not None)


@dataclasses.dataclass
class Phase:
    name: str
    begin: float
    end: float = float("inf")
    notes: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Row:
    """One phase: counts, and the records that must not be."""
    phase: str
    sent: int = 0
    answered: int = 0
    allowed: int = 0
    failed: int = 0
    lost: int = 0
    twice: int = 0
    reasons: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    bad: list = dataclasses.field(default_factory=list)

    def holds(self):
        return self.sent > 0 and not (self.failed or self.lost or self.twice) and self.sent == self.answered + self.allowed


def is_lost(record):
    return not record["ok"] and record["end"] - record["t"] >= DEADLINE


def judge(sent, done, served, phases, excuses):
    """A Row for each phase. `sent`: records of requests as they began; `done`: as they ended; `served`: lines `PROTOCOL
    ID NAME` of the origins. A request belongs to the phase in which it was sent."""
    times = collections.Counter(tuple(line.split()[:2]) for line in served)
    ended = {(r["protocol"], r["id"]): r for r in done}
    rows = [Row(p.name) for p in phases]
    for start in sent:
        key = start["protocol"], start["id"]
        at = next((i for i, p in enumerate(phases) if p.begin <= start["t"] < p.end), None)
        if at is None:
            continue
        row, record = rows[at], ended.get(key)
        row.sent += 1
        extra = max([times[key], *(times[key[0], f"{key[1]}/{n}"] for n in (2, 3))])
        if extra > 1 and not (record and record["again"]):
            row.twice += 1
            row.bad.append(f"served {extra} times: {key[1]}")
        if record is None or is_lost(record):
            row.lost += 1
            row.bad.append(f"lost: {key[1]}, {record['error'] if record else 'no end'}")
        elif record["ok"] and not times[key]:
            row.failed += 1
            row.bad.append(f"answered and never served: {key[1]}")
        elif record["ok"]:
            row.answered += 1
        elif excuse := next((e for e in excuses if e.covers(record)), None):
            row.allowed += 1
            row.reasons[excuse.why] += 1
        else:
            row.failed += 1
            row.bad.append(f"failed: {key[1]} after {record['end'] - record['t']:.2f} s: {record.get('error', '')} "
                           f"(sent {record['t'] - phases[at].begin:.2f} s into the phase)")
    return rows


class Records:
    """The file of load.py, read as it grows."""

    def __init__(self, path):
        self.path, self.at, self.sent, self.done, self.quiet = path, 0, [], [], 0
        self.failures = 0

    def read(self):
        if not self.path.exists():
            return self
        with open(self.path, encoding="utf-8") as file:
            file.seek(self.at)
            text = file.read()
        whole = text[:text.rfind("\n") + 1]
        self.at += len(whole)  # ASCII: json.dumps escapes the rest
        for line in whole.splitlines():
            record = json.loads(line)
            if "quiet" in record:
                self.quiet += 1
            elif "sent" in record:
                self.sent.append(record)
            else:
                self.done.append(record)
                self.failures += not record["ok"]
        return self
