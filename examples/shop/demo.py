"""./dev demo: a small shop of real programs, first without the mesh and then in it, with a live table.

Exits 0 only if, in the mesh, every edge carried traffic, every request succeeded, every edge was mutual TLS, plain
clients were refused, no payload was seen in plain, and the slow instance was spared. Leaves nothing behind.
"""
import argparse
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import baseline
import mesh as meshes
import procs
import report
import table
import wire
from report import Verdict
from probes import check_probes
from shop import HERE, PYTHON, ROOT, SLOW_INSTANCE, Shop

BASELINE_SECONDS = 10
TTY = sys.stdout.isatty()


class Screen:
    """Progress and a table that replace each other on a terminal, and stand below each other elsewhere."""

    def __init__(self):
        self.drawn, self.last, self.quiet_until = 0, "", 0.0

    def erase(self):
        if TTY and self.drawn:
            print(f"\033[{self.drawn}A\033[J", end="")
        self.drawn = 0

    def show(self, lines):
        self.erase()
        if TTY:
            width = shutil.get_terminal_size((120, 40)).columns
            lines = [cut(text, width) for text in lines]
        print("\n".join(lines), flush=True)
        self.drawn = len(lines)

    def progress(self, text):
        if TTY:
            self.show([text])
        elif re.sub(r"\d+", "", text) != self.last:  # the same line with another number is not news
            print(text, flush=True)
            self.last = re.sub(r"\d+", "", text)

    def keep(self, *lines):
        self.erase()
        print("\n".join(lines), flush=True)


def cut(text, width):
    """`text` without what would wrap; colours take no room."""
    out, room = "", width
    for part in re.split(r"(\033\[\d+m)", text):
        if part.startswith("\033"):
            out += part
        else:
            out += part[:room]
            room -= len(part[:room])
    return out


class Stop(BaseException):
    """Ctrl-C, a terminal that went away, or a kill."""


def raise_stop(*_):
    raise Stop


def on_signals(handler):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, handler)


def duration(text):
    match = re.fullmatch(r"(\d+)(s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 20s, 2m")
    return int(match.group(1)) * {"s": 1, "m": 60, "h": 3600}[match.group(2) or "s"]


def preconditions():
    """One line with its remedy for the first thing that is missing; all looked at in well under 5 s."""
    for program in ("/usr/sbin/nginx", "/usr/bin/redis-server", "/usr/sbin/dovecot"):
        if not os.access(program, os.X_OK):
            return f"{program} is not installed: run ./dev setup"
    missing = [p for p in ("tulle", "tulle-control", "tulle-proxy") if not os.access(meshes.BIN / p, os.X_OK)]
    if missing:
        return f"{meshes.BIN} has no {', '.join(missing)}: run ./dev build"
    if not (ROOT / "build/python/rates_pb2_grpc.py").exists():
        return "build/python has no stubs of rates.proto: run ./dev build"
    checked = subprocess.run([meshes.BIN / "tulle", "check"], text=True, capture_output=True, stdin=subprocess.DEVNULL)
    if checked.returncode != 0:
        return "this machine cannot run pods; `tulle check` says:\n" + checked.stdout.strip()
    return None


def sweep():
    """Removes what demos have left whose process and janitor were both killed: folders and meshes that carry the pid of
    no living demo."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob("tulle-demo-*-*"):
        if folder.is_dir() and folder.stat().st_uid == os.getuid() and is_gone(folder.name.split("-")[2]):
            shutil.rmtree(folder, ignore_errors=True)
    state = pathlib.Path(os.environ.get("XDG_STATE_HOME") or pathlib.Path.home() / ".local/state")
    for left in (state / "tulle").glob("demo-*"):
        if is_gone(left.name.removeprefix("demo-")):
            meshes.remove(left.name)


def is_gone(pid):
    """Is this the number of a process, and no demo has it?"""
    if not pid.isdigit():
        return False
    try:
        return b"demo.py" not in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def start_janitor(folder, name):
    """A process that waits until this one is gone, however it went, and removes what it could not: nothing stays."""
    read_end, write_end = os.pipe()
    parent = os.getpid()
    if os.fork():
        os.close(read_end)
        return  # the write end closes when this process ends
    os.setsid()
    os.close(write_end)
    on_signals(signal.SIG_IGN)
    quiet = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(3):
        os.dup2(quiet, descriptor)
    os.read(read_end, 1)
    while pathlib.Path(f"/proc/{parent}").exists() and os.getppid() == parent:
        time.sleep(0.01)
    meshes.remove(name)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def mtls_of(mesh):
    """{edge: is it mutual TLS?} of the edges that the mesh has seen, the versions of `api` taken together."""
    out = {}
    for row in mesh.ask("edges", "--since-start"):
        edge = row["src"], "api" if row["dst"].startswith("api") else row["dst"]
        if edge in report.EDGES:
            out[edge] = out.get(edge, True) and row["secured"]
    return out


def check_mtls(mtls):
    plain = [f"{a} → {b}" for a, b in report.EDGES if not mtls.get((a, b))]
    return Verdict(not plain, "every edge was mutual TLS" if not plain else f"not known to be mutual TLS: {', '.join(plain)}")


HINTS = """In another terminal, from this folder:
  {edit} {manifest}        change a weight, save, and traffic moves
  {tulle} run --mesh {name} -- curl -s http://api/price        ask from a new pod, by name"""
KILL_HINT = "  kill {pid}        ends {instance}: watch the success rate"


def hints(mesh, manifests):
    path = os.path.relpath(meshes.BIN / "tulle")
    lines = HINTS.format(edit=os.environ.get("EDITOR", "vi"), manifest=manifests / "routes.yaml", tulle=path, name=mesh.name).splitlines()
    victim = mesh.process("api-2")
    return lines + [KILL_HINT.format(pid=victim.pid, instance=victim.name)] if victim.running() else lines


def answers(mesh, shop):
    """Does the whole shop answer through its entry, asked from a pod?"""
    script = f"import sys; sys.path.insert(0, {str(HERE)!r}); import baseline; sys.exit(not baseline.answers({shop.entry!r}))"
    pod = mesh.start_pod("asker", "asker", [PYTHON, "-B", "-c", script])
    return pod.wait(30) == 0


def start_shop(mesh, shop, screen):
    mesh.up("--default-inbound-policy", "all-authenticated")
    for program in shop.programs:
        flags = ["--port", f"{program.port_name}={program.port}", "--label", f"app={program.service}"]
        for name, value in program.labels.items():
            flags += ["--label", f"{name}={value}"]
        if program.ready_path:
            flags += ["--ready-path", program.ready_path]
        mesh.start_pod(program.name, program.service, program.command, *flags, env=program.env)
    for program in shop.programs:
        screen.progress(f"in the mesh: waiting until {program.name} is ready")
        mesh.ready(program.name, 30)
    screen.progress("in the mesh: waiting until the shop answers")
    procs.wait_until("the shop answers in the mesh", lambda: answers(mesh, shop), 20)


def watch(args, mesh, records, screen, before, ended, lines_below):
    """The live table, of the last 10 s, once a second, until the time is up or a signal comes. Whoever ends meanwhile is
    told, and put into `ended`."""
    begin, drawn = time.monotonic(), 0.0
    while not args.seconds or time.monotonic() - begin < args.seconds:
        elapsed = time.monotonic() - begin
        for process in mesh.processes.died():
            if process.name not in ended and process.name not in ("asker", "up"):
                ended.append(process.name)
                screen.keep(": ".join(filter(None, (f"{process.name} ended", procs.tail(process.log(), 1)))))
        now = time.time()
        recent = [r for r in records.read() if r["t"] > now - 10]
        slow = {SLOW_INSTANCE} if any(b <= now < e for b, e in report.slow_windows(recent)) else set()
        if recent and (TTY or elapsed - drawn >= 5):
            drawn = elapsed
            head = f"{elapsed:.0f} s; the last 10 s" + (f"; {SLOW_INSTANCE} is slow on purpose" if slow else "")
            body = table.table(report.edge_figures(recent), report.instance_figures(recent), mtls_of(mesh), before, slow, TTY)
            screen.show([head, *body, "", *lines_below()])
        left = begin + args.seconds - time.monotonic() if args.seconds else 1.0
        time.sleep(max(0.0, min(1.0, left)))


def run_mesh(args, folder, note, screen, before):
    """The shop in the mesh until the time is up; prints the final table and returns the verdicts."""
    period = 60.0 if not args.seconds or args.seconds >= 60 else float(args.seconds)
    shop = Shop(folder / "meshed", None, period=period, duty=1 / 6 if period >= 60 else 0.5)
    manifests = folder / "manifests"
    shutil.copytree(HERE / "manifests", manifests)
    (folder / "mesh").mkdir()
    mesh = meshes.Mesh(args.mesh, folder / "mesh", manifests)
    records = report.Records(folder / "meshed" / "load.jsonl")
    started, capture = time.monotonic(), None
    try:
        start_shop(mesh, shop, screen)
        capture = args.wire and wire.Capture(folder, note, args.wire)
        screen.keep(f"The shop answers in the mesh {time.monotonic() - started:.1f} s after `tulle up`.")
        shop.slow_start.touch()
        ended = []
        load = mesh.start_pod("load", "load", shop.load(records.path, note, args.rate))
        try:
            watch(args, mesh, records, screen, before, ended, lambda: hints(mesh, manifests))
        except Stop:
            pass  # Ctrl-C is how a demo without --for ends
        screen.progress("reading the results")
        mtls = mtls_of(mesh)
        load.signal(signal.SIGTERM)
        load.wait(30)
        found = records.read()
        figures = report.edge_figures(found)
        verdicts = [report.check_traffic(figures), report.check_success(found, ended), check_mtls(mtls), check_probes(mesh, shop),
                    capture.verdict() if capture else Verdict(None, "payloads on the wire: not looked at (--no-wire)"),
                    report.check_greeting(before, figures),
                    *report.check_slow(found, SLOW_INSTANCE, period >= 60 and args.seconds != 0, ended)]
        screen.keep("", *table.table(figures, report.instance_figures(found), mtls, before, set(), TTY), table.cost(figures, before))
        return verdicts
    except (TimeoutError, meshes.MeshError) as e:
        screen.erase()
        mesh.show_logs(20)
        return [Verdict(False, str(e))]
    finally:
        on_signals(signal.SIG_IGN)  # from here on nothing can keep us from cleaning up, and it takes seconds
        screen.progress("stopping")
        if capture:
            capture.process.stop()
        mesh.stop()
        screen.erase()


def conclude(verdicts):
    print()
    for verdict in verdicts:
        print({True: " ok   ", False: " FAIL ", None: " –    "}[verdict.holds] + verdict.text)
    return 0 if all(v.holds is not False for v in verdicts) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--for", dest="seconds", type=duration, default=0, help="stop after this long, such as 20s (default: at Ctrl-C)")
    parser.add_argument("--rate", type=float, default=80, help="requests a second (default 80)")
    parser.add_argument("--no-wire", action="store_true",
                        help="do not look for plain payloads in the packets on lo (looking needs root, or sudo)")
    args = parser.parse_args()
    if problem := preconditions():
        sys.exit("demo: " + problem)
    args.wire = None if args.no_wire else wire.obtain(ask=False)
    if not args.wire and not args.no_wire:
        sys.exit(wire.NONE)
    sweep()
    args.mesh = f"demo-{os.getpid()}"
    note = "tulle-demo-" + secrets.token_hex(8)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"tulle-demo-{os.getpid()}-"))
    folder.chmod(0o711)  # programs that change to a user of their own must pass through
    start_janitor(folder, args.mesh)
    on_signals(raise_stop)
    screen = Screen()
    screen.keep(f"The shop without the mesh for {BASELINE_SECONDS} s, then in it; {args.rate:g} requests/s. All files: {folder}")
    (folder / "plain").mkdir()

    def show_plain(records):
        if TTY:
            figures = report.edge_figures(records)
            screen.show(["Without the mesh:", *table.table(figures, report.instance_figures(records), {}, None, set(), TTY)])

    try:
        found = baseline.run(folder / "plain", BASELINE_SECONDS, args.rate, note, screen.progress, show_plain)
        before = report.edge_figures(found)
        sys.exit(conclude(run_mesh(args, folder, note, screen, before)))
    except Stop:
        sys.exit("demo: stopped before there was anything to see")
    except TimeoutError as e:
        sys.exit(f"demo: {e}")


if __name__ == "__main__":
    main()
