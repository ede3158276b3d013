"""What is done to the mesh meanwhile. Each is a function of the world and the seconds that it has; what may fail because
of it is said by an excuse, with its time and, where not everything may, the errors. Without one nothing may."""
import os
import signal
import subprocess
import sys
import time

from world import fds, limit_fds

# What a client sees of a connection that ends under it, or of a proxy that says so.
GONE = r"ConnectionResetError|BrokenPipeError|IncompleteReadError|connection closed|reset, code|50[234]|UNAVAILABLE|answered ''|greeted with|ConnectionRefused"
OPAQUE = ("tcp", "greet", "upgrade")


def calm(world, seconds, phase):
    """Nothing happens."""
    world.sleep(seconds)


def come_and_go(world, seconds, phase):
    """Pods are added, and taken away as a deployment does it."""
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        name = world.add()
        world.until(f"{name} is ready", lambda: ready(world, name), 20)
        world.others.append(name)
        world.sleep(world.rng.uniform(0.3, 1.0))
        world.remove(world.rng.choice([o for o in world.others if o != name]))
        n += 1
    phase.notes.append(f"{n} pods came, {n} went")


def rolling(world, seconds, phase):
    """Every pod but one is replaced, one after the other."""
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for old in list(world.others):
            name = world.add()
            world.until(f"{name} is ready", lambda: ready(world, name), 20)
            world.others.append(name)
            world.remove(old)
            n += 1
    phase.notes.append(f"{n} replaced")


def ready(world, name):
    pod = world.mesh.pod(name) or {}
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def killed(world, seconds, phase):
    """Pods, then proxies, die with no warning: what was in flight there goes with them, nothing else."""
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        victim = world.rng.choice(world.others)
        if n % 2 == 0:
            world.others.append(world.add())
            world.until("a pod more is ready", lambda: ready(world, world.others[-1]), 20)
            pid, what = world.mesh.process(victim).pid, "in flight at a pod that was killed"
        else:
            pid, what = world.proxy(victim), "in flight at a proxy that was killed"
        with world.excuse(what, after=0.2, error=GONE):
            os.kill(pid, signal.SIGKILL)
        if n % 2 == 0:
            world.mesh.process(victim).popen.wait()
            world.others.remove(victim)
        else:
            world.until(f"the proxy of {victim} is back", lambda: answers(world, victim), 20)
        world.sleep(world.rng.uniform(0.5, 1.5))
        n += 1
    phase.notes.append(f"{(n + 1) // 2} pods, {n // 2} proxies")


def answers(world, name):
    try:
        return bool(world.metrics(name))
    except OSError:
        return False


def control_killed(world, seconds, phase):
    """The control plane dies and comes back."""
    away = min(seconds / 2, 12)
    world.mesh.kill_control()
    world.sleep(away)
    world.mesh.up_again()
    begin = time.monotonic()
    world.sleep(max(0, seconds - away - (time.monotonic() - begin)))
    phase.notes.append(f"away {away:.0f} s")


def control_paused(world, seconds, phase):
    """The control plane stands still: its connections are open, and nobody answers."""
    pid, away = world.mesh.control_pid(), min(seconds * 0.6, 12)
    os.kill(pid, signal.SIGSTOP)
    try:
        world.sleep(away)
    finally:
        os.kill(pid, signal.SIGCONT)
    world.sleep(seconds - away)
    phase.notes.append(f"for {away:.0f} s")


def control_cut(world, seconds, phase):
    """The network between proxies and the control plane: resets, then silence."""
    for mode in ("refuse", "hole"):
        away = min(seconds * 0.3, 10)
        world.relay.set(mode)
        try:
            world.sleep(away)
        finally:
            world.relay.set("pass")
        world.sleep(seconds * 0.5 - away)
    phase.notes.append(f"resets, then silence, {away:.0f} s each")


def first_free(used, more):
    """The limit under which a process gets `more` descriptors beside those that it has."""
    free = [n for n in range(max(used) + more + 2) if n not in used]
    return free[more]


def no_fds(world, seconds, phase):
    """A proxy gets no more descriptors for a time. What needs one waits or is refused; what is open goes on."""
    end, n, turns = time.monotonic() + seconds, 0, ["client", "stays", *world.others[:1]]
    while time.monotonic() < end:
        name = turns[n % len(turns)]
        pid = world.proxy(name)
        with world.excuse("a proxy without descriptors", after=1.0, error=GONE):
            limit_fds(pid, first_free(fds(pid), world.rng.randrange(3)))
            try:
                world.sleep(min(world.rng.uniform(1.0, 2.5), max(0.5, end - time.monotonic())))
            finally:
                limit_fds(pid, None)
        world.sleep(1.0)
        n += 1
    phase.notes.append(f"{n} times")


def no_cpu(world, seconds, phase):
    """Proxies are stopped for moments, and every CPU is busy."""
    end, n = time.monotonic() + seconds, 0
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        while time.monotonic() < end:
            pid = world.proxy(world.rng.choice([*world.stays, *world.others]))
            os.kill(pid, signal.SIGSTOP)
            try:
                world.sleep(world.rng.uniform(0.05, 0.4))
            finally:
                os.kill(pid, signal.SIGCONT)
            world.sleep(world.rng.uniform(0.05, 0.3))
            n += 1
    finally:
        for process in busy:
            process.kill()
            process.wait()
    phase.notes.append(f"{n} pauses of up to 0.4 s, {len(busy)} busy loops")


JUMPS = [120, 3600 * 20, -3600, 0]  # seconds from the truth: beyond a certificate's life, much beyond, before it, and back


def clock(world, seconds, phase):
    """The machine's clock jumps. Connections that are open go on; new ones fail until certificates are new."""
    for shift in JUMPS:
        with world.excuse("certificates of another time", after=3.0, error=GONE + "|EOF"):
            world.mesh.clock.shift(shift)
        world.sleep(seconds / len(JUMPS))
    phase.notes.append(", ".join(f"{s:+d} s" for s in JUMPS))


# name, function, share of the time
PLAN = [("calm", calm, 1.0), ("pods come and go", come_and_go, 1.3), ("rolling restart", rolling, 1.5), ("pods killed", killed, 1.3),
        ("control plane killed", control_killed, 1.2), ("control plane paused", control_paused, 1.0),
        ("control plane cut off", control_cut, 1.2), ("no descriptors", no_fds, 1.2), ("no CPU", no_cpu, 1.0),
        ("clock jumps", clock, 1.8)]
