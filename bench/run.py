"""`./dev bench`: a pair of proxies between a client and a server, ours and others', compared on one machine in one run.

    client → OUTBOUND → mutual TLS, HTTP/2 → INBOUND → server

Pairs: none (the client speaks to the server), Envoy, HAProxy, nginx and ours. Both proxies share one CPU, load and server
the other. All pairs stay up; rounds are interleaved and ratios are medians of ratios within a round, so that what else
the machine does falls on all. bench/README.md says what each row means.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import configs
import counts
import envoy
import machine
import outcome
import peers
import rows
import scaling as scale

RESULTS = peers.ROOT / "bench/results"
OURS = "tulle"


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some rows, one round of a second, no scaling; for a look, not for figures")
    parser.add_argument("--pairs", default=",".join(peers.ALL), help=f"comma list of {', '.join(peers.ALL)}")
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--peer-proxy", metavar="BINARY",
                        help="two further pairs: `peer`, this program of the LINKERD2_PROXY_* environment, and `tulle sidecar`, ours in its place; as root")
    parser.add_argument("--binaries", type=pathlib.Path, default=peers.ROOT / "build/release/bin")
    parser.add_argument("--results", type=pathlib.Path, default=RESULTS, help="folder that gets table, JSON and plots")
    args = parser.parse_args()
    args.binaries = args.binaries.resolve()
    if args.peer_proxy and not (os.path.isfile(args.peer_proxy) and os.access(args.peer_proxy, os.X_OK)):
        raise SystemExit(f"bench: --peer-proxy {args.peer_proxy}: no program that may be run")
    if os.cpu_count() < 2:
        raise SystemExit("bench: needs two CPUs: one for the proxies, one for load and server")
    for name in ("bench_loadgen", "bench_origin", "tulle", "tulle-proxy", "tulle-control"):
        if not (args.binaries / name).exists():
            raise SystemExit(f"bench: {args.binaries / name} is missing: run ./dev build release")
    unknown = set(args.pairs.split(",")) - set(peers.ALL)
    if unknown:
        raise SystemExit(f"bench: no pair {', '.join(sorted(unknown))}; there are {', '.join(peers.ALL)}")
    return args


def make_pairs(args, folder, file_limit, notes):
    """The pairs that can be had here, by name; none is started."""
    configs.make_certificates(folder / "certs")
    held = max(rows.held(file_limit))
    words = folder, folder / "certs", args.binaries, held
    pairs = {}

    def skipped(what, why):
        notes.append(f"SKIPPED: {what}: {why}")
        say(notes[-1])

    for kind in (peers.ALL[name] for name in args.pairs.split(",")):
        try:
            pairs[kind.name] = kind(*words)
        except envoy.Missing as e:
            skipped(kind.name, e)
    if args.peer_proxy and os.getuid() != 0:
        skipped(f"{outcome.PEER}, {outcome.SIDECAR}", "--peer-proxy makes network namespaces and redirects in them, for which the bench must be run as root")
    elif args.peer_proxy:
        import sidecar_pairs  # only now: takes the binaries from where main() said
        pairs |= {outcome.SIDECAR: sidecar_pairs.Sidecars(*words), outcome.PEER: sidecar_pairs.Peer(*words, program=os.path.realpath(args.peer_proxy))}
    return pairs


def command_line(args):
    """As it is written into the results: without where things are on this machine."""
    if args.results != RESULTS:
        return "./dev bench"
    words = " ".join(["./dev bench", *sys.argv[1:]])
    return words.replace(args.peer_proxy, os.path.basename(args.peer_proxy)) if args.peer_proxy else words


def versions(pairs, args):
    def first_line(*command):
        try:
            done = subprocess.run(command, text=True, capture_output=True)
        except FileNotFoundError:
            return "?"
        return (done.stdout + done.stderr).strip().splitlines()[0]

    known = {"none": "", "envoy": envoy.VERSION, "haproxy": first_line("haproxy", "-v").split(" - ")[0].removeprefix("HAProxy version "),
             "nginx": first_line("/usr/sbin/nginx", "-v").rpartition("/")[2],
             OURS: first_line("git", "-C", str(peers.ROOT), "describe", "--always", "--dirty"),
             outcome.PEER: os.path.basename(args.peer_proxy or "")}
    known[outcome.SIDECAR] = known[OURS]
    return {name: known.get(name, "") for name in pairs}


def count(folder, binaries, notes):
    """What a request costs ours in counts; None where it cannot be told."""
    say("counting instructions")
    try:
        return counts.count(folder, binaries)
    except counts.Unable as e:
        notes.append(f"SKIPPED: counts of instructions: {e}")
        return None


BEGUN = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - BEGUN:4.0f} s] {text}", file=sys.stderr, flush=True)


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    peers.meshes.BIN = args.binaries
    about, notes = machine.describe(), []
    file_limit = machine.raise_file_limit()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tulle-bench-"))
    folder.chmod(0o711)
    pairs = make_pairs(args, folder, file_limit, notes)
    chosen = [r for r in rows.ROWS if args.rows in r.name and (r.quick or not args.quick)]
    started = []
    try:
        for pair in pairs.values():
            say(f"starting {pair.name}")
            started.append(pair)
            pair.start()
            pair.idle = pair.memory()
        results = rows.measure_rows(chosen, pairs, args.quick, notes, say)
        lines = [line for row in chosen for line in outcome.row_lines(row, results[row.name], OURS)]
        if not args.rows:
            held = rows.held(file_limit)
            if held != rows.HELD:
                notes.append(f"{max(rows.HELD):,} idle connections: a process may open {file_limit:,} files here, so {max(held):,} were held")
            memory = rows.measure_memory(pairs, held[:1 if args.quick else None], notes, say)
            starts = rows.measure_starts(pairs, 1 if args.quick else rows.STARTS, notes, say)
            lines += [*outcome.memory_lines(memory, OURS), outcome.start_line(starts, OURS)]
            results |= {"memory": memory, "starts": starts}
        for pair in started:
            pair.stop()
        started.clear()
        scaling, counted = [], None
        if not (args.rows or args.quick) and OURS in pairs:
            scaling, failed = scale.measure(folder, args.binaries, say)
            notes += failed
            counted = count(folder, args.binaries, notes)
    finally:
        for pair in started:
            pair.stop()
        shutil.rmtree(folder, ignore_errors=True)
    args.results.mkdir(parents=True, exist_ok=True)
    known = versions(pairs, args)
    text = outcome.markdown(command_line(args), about, known, lines, scaling, counted, list(pairs), OURS, notes)
    (args.results / "results.md").write_text(text)
    (args.results / "results.json").write_text(outcome.as_json(about, known, results | {"counts": counted}, lines + scaling, notes))
    outcome.write_plots(args.results, lines + scaling, pairs)
    print(text)
    say(f"done; table, JSON and plots are in {os.path.relpath(args.results)}")


if __name__ == "__main__":
    main()
