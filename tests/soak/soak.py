"""./dev soak: ten minutes of traffic of every protocol, at a steady rate, while everything around it goes wrong.

Every request has an id and is accounted for; the exit code is 0 only if each was answered once or failed for a reason
that was allowed at that moment, none was lost, none that is not idempotent was served twice, and the proxies that lived
through it hold what they held before: memory, descriptors, connections.
"""
import argparse
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples/shop"), str(ROOT / "build/python")]

from account import judge  # noqa: E402
from phases import PLAN  # noqa: E402
from support.mesh import programs_missing  # noqa: E402
from world import GAUGES, SHIFTED, World  # noqa: E402

GROWTH = 3 << 20  # bytes of RSS that a proxy may have more in the end
OTHERS = 2        # pods beside the one that stays


def duration(text):
    match = re.fullmatch(r"(\d+)(s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 60s, 10m")
    return int(match.group(1)) * {"s": 1, "m": 60, "h": 3600}[match.group(2) or "s"]


class Progress:
    """One live line on a terminal, elsewhere one every ten seconds; on standard error."""

    def __init__(self, world, seconds):
        self.world, self.seconds, self.begin, self.last = world, seconds, time.monotonic(), 0.0
        self.tty = sys.stderr.isatty()

    def __call__(self):
        now = time.monotonic()
        if now - self.last < (0.5 if self.tty else 10):
            return
        self.last = now
        r = self.world.records.read()
        phase = self.world.phases[-1].name if self.world.phases else "start"
        line = (f"{now - self.begin:4.0f} s of {self.seconds}  {phase:22} sent {len(r.sent):6}  answered "
                f"{len(r.done) - r.failures:6}  failed {r.failures:4}  open {len(r.sent) - len(r.done):3}")
        print(f"\r\033[K{line}" if self.tty else line, end="" if self.tty else "\n", file=sys.stderr, flush=True)


def run(args, folder):
    rng = random.Random(args.seed)
    short = args.time < 300
    world = World(folder, rng, args.rate, "30s" if short else "1m", "10s" if short else "42s")
    try:
        world.start(OTHERS)
        world.tick = Progress(world, args.time)
        world.until("load flows", lambda: sum(r["ok"] for r in world.records.read().done) > args.rate, 30)
        plan = [p for p in PLAN if not args.only or p[0] in args.only or p[0] == "calm"]
        if not SHIFTED.exists():
            plan = [p for p in plan if p[0] != "clock jumps"]
            print(f"soak: NOT exercised: clock jumps: there is no {SHIFTED}", file=sys.stderr)
        unit = args.time / sum(share for *_, share in plan)
        before = None
        for name, disturb, share in plan:
            with world.phase(name) as phase:
                disturb(world, share * unit, phase)
            if before is None:  # warm, and nothing has happened yet
                world.end_phases()
                before = world.quiet(8)
                world.loud()
        world.end_phases()
        after = world.quiet(40)  # series of pods that are gone are forgotten after 5 s, which is looked at each 30 s
        world.client.signal(15)
        world.client.wait(30)
        served = (world.folder / "origin.ids").read_text().splitlines()
        r = world.records.read()
        rows = judge(r.sent, r.done, served, world.phases, world.excuses)
        return report(args, world, rows, before, after)
    finally:
        world.close()


def problems(before, after):
    """What a proxy holds that it did not: a line each."""
    out = []
    for name, was in before.items():
        now = after[name]
        if now["pid"] != was["pid"]:
            out.append(f"{name}: its proxy is another one: it has died")
            continue
        if now["rss"] - was["rss"] > GROWTH:
            out.append(f"{name}: RSS grew by {mb(now['rss'] - was['rss'])} MB, more than {mb(GROWTH)}")
        for gauge, most in GAUGES.items():
            if now[gauge] - was[gauge] > most:
                out.append(f"{name}: {gauge} was {was[gauge]:g}, is {now[gauge]:g}")
        if now["bugs"]:
            out.append(f"{name}: tulle_bugs_total is {now['bugs']:g}")
        if now["renewals"] <= was["renewals"]:
            out.append(f"{name}: its certificate was not renewed")
    return out


def mb(value):
    return f"{value / (1 << 20):.1f}"


def report(args, world, rows, before, after):
    wrong = problems(before, after)
    good = all(row.holds() for row in rows) and not wrong
    value = {
        "seed": args.seed, "seconds": args.time, "good": good, "problems": wrong,
        "phases": [{**{k: getattr(row, k) for k in ("phase", "sent", "answered", "allowed", "failed", "lost", "twice")},
                    "seconds": round(p.end - p.begin, 1), "what": p.notes, "reasons": dict(row.reasons), "bad": row.bad[:50]}
                   for row, p in zip(rows, world.phases)],
        "proxies": {name: {"before": before[name], "after": after[name]} for name in before},
    }
    if args.output == "json":
        print(json.dumps(value, indent=1))
        return good
    print(f"\n{'phase':22}{'seconds':>8}{'sent':>8}{'answered':>10}{'allowed':>9}{'failed':>8}{'lost':>6}{'twice':>7}  what")
    for p in value["phases"]:
        print(f"{p['phase']:22}{p['seconds']:8.0f}{p['sent']:8}{p['answered']:10}{p['allowed']:9}{p['failed']:8}{p['lost']:6}"
              f"{p['twice']:7}  {', '.join(p['what'])}")
    sums = {k: sum(p[k] for p in value["phases"]) for k in ("seconds", "sent", "answered", "allowed", "failed", "lost", "twice")}
    print(f"{'all':22}{sums['seconds']:8.0f}{sums['sent']:8}{sums['answered']:10}{sums['allowed']:9}{sums['failed']:8}{sums['lost']:6}{sums['twice']:7}")
    print("\nallowed: failed, as the phase allows; failed: not allowed; twice: not idempotent, and served more than once\n")
    print(f"{'proxy of':12}{'MB before':>10}{'after':>7}{'open before':>13}{'after':>7}{'fds before':>12}{'after':>7}{'renewals':>10}")
    for name, was in before.items():
        now = after[name]
        print(f"{name:12}{mb(was['rss']):>10}{mb(now['rss']):>7}{was['tcp_open_connections']:13g}{now['tcp_open_connections']:7g}"
              f"{was['process_open_fds']:12g}{now['process_open_fds']:7g}{now['renewals'] - was['renewals']:10g}")
    print()
    for p in value["phases"]:
        for why, n in p["reasons"].items():
            print(f"{p['phase']}: {n} allowed: {why}")
        for line in p["bad"][:10]:
            print(f"BAD  {p['phase']}: {line}")
    for line in wrong:
        print(f"BAD  {line}")
    print(f"seed {args.seed}: {'all held' if good else 'NOT all held'}")
    return good


def main():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("time", nargs="?", type=duration, default=600, help="of traffic, such as 60s or 10m (the default)")
    parser.add_argument("--seed", type=int, default=None, help="of what is random; printed")
    parser.add_argument("--rate", type=float, default=20, help="requests a second of HTTP/1.1; all protocols together 3.6 times that")
    parser.add_argument("--only", action="append", choices=[name for name, *_ in PLAN], help="this phase, and calm; may be repeated")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    args = parser.parse_args()
    args.seed = secrets.randbelow(10**6) if args.seed is None else args.seed
    if missing := programs_missing():
        sys.exit(f"soak: not built: {', '.join(missing)}; run ./dev build")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"tulle-soak-{os.getpid()}-"))
    print(f"soak: {args.time} s, seed {args.seed}, logs in {folder}", file=sys.stderr, flush=True)
    good = False
    try:
        good = run(args, folder)
    finally:
        if good and not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"soak: the logs stay in {folder}", file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
