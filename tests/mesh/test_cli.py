"""The command line by itself: what it takes, what it refuses and with which exit code, what it says, what it leaves."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import pytest

import procs
from support.mesh import BIN, PYTHON, wait_until

# Each flag and word of each command, with values that it refuses. None: it takes any text (a path, a name that may
# not exist); such a one is refused, if at all, for what is there, not for what it is.
NAME = ["", "A", "a_b", "-a", "a-", "a" * 64]
MESH = ["", "A", "a/b", "..", "-a", "a" * 41]
OUTPUT = ["", "yaml", "TABLE"]
TARGETS = None  # read by the control plane: see test_targets_are_read_strictly
BAD = {
    "up": {"--dir": ["", "/dev/null"], "--default-inbound-policy": ["", "open", "Deny"], "--log-level": ["loud"],
           "--identity-lifetime": ["", "x", "5", "9s", "-1h"], "--foreground": None,
           "--no-prometheus": None, "--mesh": MESH},
    "down": {"--purge": None, "--mesh": MESH},
    "run": {"--mesh": MESH, "--service": NAME, "--namespace": NAME, "--name": NAME, "--service-account": NAME,
            "--port": ["", "0", "65536", "http", "http=", "=80", "HTTP=80", "http=80x", "53", "dns=53", "4140"], "--label": ["", "x", "=x"],
            "--ready-path": ["/x", "x"],  # without a --port, and no path
            "--expose": ["", "8080", "x:1:2", "1:0", "65536:1", "127.0.0.1:1:", ":1:2"], "--host": ["", "0", "65536", "x", "-1"],
            "--grace": ["", "x", "5", "-1s", "1.5s"], "--proxy": None, "--proxy-log": None},
    "get": {"--namespace": NAME, "--mesh": MESH, "--output": OUTPUT, "kind": ["", "nonsense"], "name": None},
    "stat": {"--namespace": NAME, "--time-window": ["", "5", "1ms", "25h", "-1s"], "--since-start": None, "--watch": None, "--mesh": MESH,
             "--output": OUTPUT, "what": ["nodes", ""]},
    "edges": {"--namespace": NAME, "--time-window": ["", "5", "1ms", "25h", "-1s"], "--since-start": None, "--watch": None, "--mesh": MESH,
              "--output": OUTPUT, "what": ["nodes", ""]},
    "diagnostics endpoints": {"--mesh": MESH, "--output": OUTPUT, "authority": TARGETS},
    "diagnostics policy": {"--mesh": MESH, "target": TARGETS},
    "diagnostics proxy-metrics": {"--namespace": NAME, "--mesh": MESH, "name": None},
    "validate": {"--mesh": MESH, "--output": OUTPUT, "files": None},
    "check": {"--mesh": MESH, "--output": OUTPUT},
    "completion": {"shell": ["tcsh", ""]},
    "version": {"--output": OUTPUT},
}
# What a command needs besides.
WORDS = {"run": ["true"], "get": ["pods"], "diagnostics endpoints": ["a.b.svc.cluster.local:80"], "diagnostics policy": ["svc/a/b:80"],
         "completion": ["bash"]}
CASES = [(command, flag, value) for command, flags in BAD.items() for flag, values in flags.items() for value in values or []]


@pytest.fixture
def cli(binaries, tmp_path):
    """Runs the command line in a world of its own, where no mesh is up."""
    runtime = pathlib.Path(tempfile.mkdtemp(prefix="tulle-test-", dir="/tmp"))  # a short path, for the socket's sake
    base = {"XDG_RUNTIME_DIR": str(runtime), "XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}

    def run(*words, env=None, **how):
        if "stdout" not in how:
            how["stdout"] = subprocess.PIPE
        return subprocess.run([str(BIN / "tulle"), *map(str, words)], text=True, stderr=subprocess.PIPE, timeout=30, stdin=subprocess.DEVNULL,
                              cwd=tmp_path, env={**os.environ, **base, **(env or {})}, **how)
    run.runtime, run.state = runtime, tmp_path / "state"
    yield run
    shutil.rmtree(runtime, ignore_errors=True)


def test_the_table_has_every_flag(cli):
    for command, flags in BAD.items():
        text = cli(*command.split(), "--help").stdout
        known = set(re.findall(r"^\s+(?:-\w,)?(--[a-z-]+)", text, re.M)) - {"--help"}
        assert known == {f for f in flags if f.startswith("--")}, f"tulle {command}"


def test_a_bad_value_is_refused_by_its_name(cli):
    """For every flag of every command: the exit code that docs/cli.md says, and a message that names the flag."""
    wrong = []
    for command, flag, value in CASES:
        words = WORDS.get(command, [])
        given = [value, *words[1:]] if not flag.startswith("--") else [f"{flag}={value}", *words] if command == "run" else [*words, f"{flag}={value}"]
        done = cli(*command.split(), *given)
        named = flag.lower() in done.stderr.lower() or (flag == "--mesh" and "mesh name" in done.stderr)
        if done.returncode != (125 if command == "run" else 2) or not named or done.stdout:
            wrong.append((command, flag, value, done.returncode, done.stderr))
    assert not wrong, "\n".join(map(str, wrong))
    assert not cli.state.exists() and not list(cli.runtime.iterdir()), "nothing was made for what was asked wrongly"


@pytest.mark.parametrize("command", BAD)
def test_an_unknown_flag_is_refused(cli, command):
    done = cli(*command.split(), "--nonsense", *WORDS.get(command, []))
    assert done.returncode == (125 if command == "run" else 2) and "--nonsense" in done.stderr, done


def test_what_is_too_much_is_named_with_what_is_accepted(cli):
    for words, said in ((["down", "json", "--purge"], 'down: found "json"; accepted: options (-h, --help; --purge; --mesh)'),
                        (["get", "pods", "one", "two", "three"], 'get: found "two"; accepted: KIND NAME and options (-h, --help; -n, --namespace; '),
                        (["down", "-x", "json"], "down: there is no option -x\nAccepted: -h, --help; --purge; --mesh"),
                        (["diagnostics", "endpoints", "a:80", "--outputs=json"], "diagnostics endpoints: there is no option --outputs=json; did you mean --output?\n")):
        done = cli(*words)
        assert done.returncode == 2 and done.stderr.startswith("tulle: " + said), done
    done = cli("run", "--nonsense", "true")
    assert done.returncode == 125 and "Accepted: -h, --help; --mesh; --service; -n, --namespace;" in done.stderr, done


def test_the_other_programs_help(binaries):
    for program in ("tulle-proxy", "tulle-control"):
        done = subprocess.run([BIN / program, "--help"], text=True, capture_output=True, timeout=10)
        assert done.returncode == 0 and program in done.stdout and "--help" in done.stdout and done.stderr == "", done
    done = subprocess.run([BIN / "tulle-proxy", "--version"], text=True, capture_output=True, timeout=10)
    assert done.returncode == 0 and re.fullmatch(r"tulle-proxy [\d.]+\n", done.stdout), done
    done = subprocess.run([BIN / "tulle-proxy", "--nonsense"], text=True, capture_output=True, timeout=10)
    assert done.returncode == 64 and '"--nonsense"; accepted: --help or --version' in done.stderr, done


def test_the_version_as_json(cli):
    assert cli("version").stdout == f"tulle {json.loads(cli('version', '-o', 'json').stdout)['version']}\n"


def test_without_a_mesh_the_exit_code_is_3(cli):
    for words in (["get", "pods"], ["stat"], ["edges"], ["diagnostics", "endpoints", "a.b.svc.cluster.local:80"],
                  ["diagnostics", "policy", "svc/a/b:80"], ["diagnostics", "proxy-metrics"], ["validate"]):
        done = cli(*words)
        assert done.returncode == 3 and "`tulle up --mesh local`" in done.stderr, (words, done)


def test_the_flag_beats_the_environment(cli):
    """In every command that has it: else `tulle down --mesh a` would end another mesh."""
    asks = (["get", "pods"], ["stat"], ["edges"], ["diagnostics", "endpoints", "a:80"], ["diagnostics", "policy", "a:80"],
            ["diagnostics", "proxy-metrics"], ["validate"], ["down"], ["check"])
    for words in asks:
        for flag, env, mesh in ((["--mesh", "flag"], "other", "flag"), ([], "other", "other"), ([], "", "local"), (["--mesh=flag"], "a/b", "flag")):
            done = cli(*words, *flag, env={"TULLE_MESH": env})
            said = done.stdout + done.stderr
            assert re.search(rf"mesh {mesh}\b", said, re.I) and (mesh == "other") == ("mesh other" in said.lower()), (words, flag, env, said)
    done = cli("run", "--mesh", "a/b", "--", "true", env={"TULLE_MESH": "other"})
    assert done.returncode == 125 and 'mesh name "a/b"' in done.stderr, done
    done = cli("up", "--mesh", "a/b", env={"TULLE_MESH": "other"})
    assert done.returncode == 2 and 'mesh name "a/b"' in done.stderr, done


def test_an_unknown_command_is_named_with_the_one_that_was_meant(cli):
    for typed, meant in (("edge", "edges"), ("dwon", "down"), ("validat", "validate")):
        done = cli(typed)
        assert done.returncode == 2 and f'"{typed}"; did you mean {meant}?' in done.stderr, done
    done = cli("nonsense", "--mesh", "x")
    assert done.returncode == 2 and '"nonsense"' in done.stderr and "did you mean" not in done.stderr and "diagnostics, validate" in done.stderr, done
    done = cli("diagnostics", "endpoint", "a:80")
    assert done.returncode == 2 and '"endpoint"; did you mean endpoints?' in done.stderr, done
    for words in ((), ("diagnostics",)):
        done = cli(*words)
        assert done.returncode == 2 and "a command is missing; accepted: " in done.stderr and re.match("tulle: (?!tulle)", done.stderr), done


def test_help_is_for_people(cli):
    """No C++ types and no `FLAG TYPE:RANGE` in what a newcomer reads."""
    for command in BAD:
        text = cli(*command.split(), "--help").stdout
        assert not re.search(r"\b(TEXT|UINT|INT|FLOAT|ENUM)\b|:\{|:INT|\.\.\.\s*$", text), text
        assert max(map(len, text.splitlines())) <= 200


def test_output_that_cannot_be_written_is_a_failure(mesh):
    mesh.up()
    mesh.origin("one", "one", ports="http1")
    mesh.ready("one")
    commands = [["--help"], ["get", "--help"], ["--version"], ["version"], ["completion", "bash"], ["validate", mesh.manifest("a.yaml", "# nothing\n")], ["validate", "--mesh", mesh.name, "-o", "json"]]
    for kind in ("pods", "services", "namespaces"):
        commands += [["get", kind, "--mesh", mesh.name], ["get", kind, "--mesh", mesh.name, "-o", "json"]]
    for words in (["stat"], ["stat", "pod"], ["edges"], ["stat", "--watch"]):
        commands += [[*words, "--since-start", "--mesh", mesh.name], [*words, "--since-start", "--mesh", mesh.name, "-o", "json"]]
    commands += [["check", "--mesh", mesh.name], ["check", "--mesh", mesh.name, "-o", "json"], ["diagnostics", "proxy-metrics", "--mesh", mesh.name],
                 ["diagnostics", "policy", "svc/default/one:8080", "--mesh", mesh.name],
                 ["diagnostics", "endpoints", "one.default.svc.cluster.local:8080", "--mesh", mesh.name]]
    for words in commands:
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(BIN / "tulle"), *map(str, words)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
        assert done.returncode == 1 and "standard output: No space left on device" in done.stderr, (words, done)


def test_check_tells_that_the_control_plane_has_died(cli, tmp_path):
    """And its remedy is one: it starts the mesh as it was, and the pods that still run join it."""
    name = "k" + os.urandom(4).hex()
    env = {"XDG_RUNTIME_DIR": str(cli.runtime), "XDG_STATE_HOME": str(cli.state), "TULLE_MESH": name}

    def line():
        done = cli("check", "-o", "json", env=env)
        assert done.returncode == 0, done
        return next(item for item in json.loads(done.stdout) if item["name"] == f"mesh {name}")
    assert line()["verdict"] == "ok" and "not up" in line()["detail"]
    assert cli("up", "--dir", tmp_path / "manifests", "--default-inbound-policy", "deny", "--no-prometheus", env=env).returncode == 0
    pod = procs.Process("pod", [BIN / "tulle", "run", "--name", "one", "--", "sleep", "60"], tmp_path, env)
    try:
        def is_known():
            return cli("get", "pods", "one", env=env).returncode == 0
        wait_until("the pod is known", is_known, 20)
        os.kill(int((cli.runtime / "tulle" / name / "control.pid").read_text().split()[0]), signal.SIGKILL)
        wait_until("it has ended", lambda: "has died" in line()["detail"], 10)
        told = line()
        assert told["verdict"] == "warn", told
        remedy = re.match("`tulle (up [^`]+)`", told["remedy"])[1].split()
        assert remedy == ["up", "--mesh", name, "--dir", str(tmp_path / "manifests"), "--default-inbound-policy", "deny"], told
        assert cli(*remedy, "--no-prometheus", env=env).returncode == 0
        wait_until("the pod is known again", is_known, 20)
        told = line()
        assert told["verdict"] == "ok" and "up, with 1 workload" in told["detail"], told
    finally:
        pod.stop()
        cli("down", "--purge", env=env)
    assert "not up" in line()["detail"]


def test_what_does_not_exist_is_named_in_the_singular(mesh):
    mesh.up()
    for kind, one in (("pods", "pod"), ("svc", "service"), ("namespaces", "namespace")):
        done = mesh.tulle("get", kind, "nope", "--mesh", mesh.name, check=False)
        assert done.returncode == 1 and f'there is no {one} "nope"' in done.stderr, done


def test_check_tells_when_certificates_end(mesh):
    mesh.up()
    mesh.origin("one", "one", ports="http1")
    mesh.ready("one")
    lines = {line["name"]: line for line in json.loads(mesh.tulle("check", "--mesh", mesh.name, "-o", "json").stdout)}
    for name, days in (("certificate of the trust root", 3649), ("certificate of the issuer", 364)):
        assert lines[name]["verdict"] == "ok" and f"{days} days left" in lines[name]["detail"] and lines[name]["remedy"] == "", lines[name]
    pods = lines["certificates of pods"]
    assert pods["verdict"] == "ok" and "1 pod; the first to end is that of default/one, in 2" in pods["detail"], pods
    assert "days left" in mesh.tulle("check", "--mesh", mesh.name).stdout


def test_check_does_not_call_a_closed_folder_a_full_disk(cli, tmp_path):
    (tmp_path / "file").write_text("")
    done = cli("check", env={"XDG_STATE_HOME": str(tmp_path / "file")})
    assert done.returncode == 1 and "Not a directory" in done.stdout and "MB free" in done.stdout and "only 0" not in done.stdout, done
    if os.getuid() != 0:
        (tmp_path / "closed").mkdir(mode=0)
        done = cli("check", env={"XDG_STATE_HOME": str(tmp_path / "closed")})
        assert done.returncode == 1 and "Permission denied" in done.stdout and "only 0" not in done.stdout, done


def test_up_on_a_running_mesh(mesh):
    mesh.up("--default-inbound-policy", "all-authenticated", foreground=False)
    mesh.wait("up has returned", lambda: not mesh.control.running(), 20)

    def again(*words):
        return mesh.tulle("up", "--mesh", mesh.name, *words, check=False)
    for words in ((), ("--dir", mesh.manifests), ("--dir", f"{mesh.manifests}/"), ("--default-inbound-policy", "all-authenticated"), ("--no-prometheus",)):
        done = again(*words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"Mesh {mesh.name} is up already.\n", ""), (words, done)
    for words, said in ((("--dir", mesh.folder), f"--dir {mesh.folder}: it reads {mesh.manifests}"),
                        (("--default-inbound-policy", "deny"), "--default-inbound-policy deny: it has all-authenticated"),
                        (("--log-level", "debug"), "--log-level debug: it has info"), (("--foreground",), "--foreground"),
                        (("--dir", "/dev/null"), "not a folder")):
        done = again(*words)
        assert done.returncode == 2 and said in done.stderr and done.stdout == "", (words, done)
    mesh.manifest("bad.yaml", "kind: [unclosed\n")
    mesh.wait("the bad manifest is told", lambda: "1 problem(s)" in again().stdout, 10)


def test_a_folder_of_manifests_that_is_gone_is_told(mesh):
    mesh.up()
    mesh.manifests.rename(mesh.folder / "elsewhere")
    mesh.wait("validate says so", lambda: mesh.tulle("validate", "--mesh", mesh.name, check=False).returncode == 1, 10, every=0.1)
    said = mesh.tulle("validate", "--mesh", mesh.name, check=False).stdout
    assert f"{mesh.manifests}: the folder of manifests cannot be read" in said and "stays in force" in said, said
    (mesh.folder / "elsewhere").rename(mesh.manifests)
    mesh.wait("it is back", lambda: mesh.tulle("validate", "--mesh", mesh.name, check=False).returncode == 0, 10, every=0.1)


def uncommented(text):
    """What somebody makes of the example who takes off the "# " of every resource."""
    out, inside = [], False
    for line in text.splitlines():
        inside = line.startswith("# ---") or (inside and line != "")
        out.append(line[2:] if inside else line)
    return "\n".join(out) + "\n"


def test_the_example_works_once_uncommented(mesh):
    mesh.manifests.rmdir()
    mesh.up()
    example = mesh.manifests / "example.yaml"
    assert mesh.ask("get", "services")["items"] == []
    example.write_text(uncommented(example.read_text()))
    mesh.wait("the Services are there", lambda: len(mesh.ask("get", "services")["items"]) == 3, 10)
    assert mesh.tulle("validate", "--mesh", mesh.name).stdout.endswith(": 0 errors, 0 warnings\n")
    for version in ("v1", "v2"):
        mesh.start_pod(f"hello-{version}", "hello", [PYTHON, "-m", "http.server", "8080"], "--label", "app=hello", "--label", f"version={version}",
                       "--port", "http=8080")
    for version in ("v1", "v2"):
        mesh.ready(f"hello-{version}")
    code, log = mesh.curl("curl", *["http://hello/"] * 20, "-o", "/dev/null", "-w", "%{http_code}\\n")
    assert code == 0 and log.count("200") == 20, log


def test_a_route_to_what_nobody_declares_is_warned_of(mesh):
    mesh.manifest("route.yaml", """
        apiVersion: gateway.networking.k8s.io/v1
        kind: HTTPRoute
        metadata: {name: r, namespace: default}
        spec:
          parentRefs: [{group: "", kind: Service, name: one, port: 8080}]
          rules: [{backendRefs: [{name: two, port: 8080}]}]
    """)
    mesh.up()
    mesh.origin("one", "one", ports="http1")
    mesh.ready("one")
    done = mesh.tulle("validate", "--mesh", mesh.name)
    assert "warning: route.yaml:2: HTTPRoute default/r: spec.rules[0].backendRefs[0].name: there is no Service default/two" in done.stdout, done
    assert "default/one" not in done.stdout, "a Service that tulle run made is there"
    code, log = mesh.curl("curl", "http://one:8080/", "-o", "/dev/null", "-w", "%{http_code}\\n")
    assert log == "502\n", log


def test_targets_are_read_strictly(mesh):
    mesh.up()
    for kind, bad in (("endpoints", ("", "a.b.c", "a:0", "a:65536", "127.0.0.1:80")), ("policy", ("", "svc/a:80", "svc/a/b:0", "node/a/b:80"))):
        for target in bad:
            done = mesh.tulle("diagnostics", kind, target, "--mesh", mesh.name, check=False)
            assert done.returncode == 2 and re.search("accepted|expected", done.stderr), (kind, target, done)
    done = mesh.tulle("diagnostics", "endpoints", "none.default.svc.cluster.local:80", "--mesh", mesh.name, check=False)
    assert done.returncode == 1 and "no such service" in done.stderr


def test_a_service_goes_by_its_short_name(mesh):
    mesh.up()
    mesh.origin("one-1", "one", ports="http1")
    mesh.origin("two-1", "two", ports="http1 h2")
    for pod in ("one-1", "two-1"):
        mesh.ready(pod)

    def ask(kind, target):
        return mesh.tulle("diagnostics", kind, target, "--mesh", mesh.name, check=False)
    for target in ("one", "one:8080", "one.default", "one.default.svc:8080", "one.default.svc.cluster.local"):
        assert "one-1" in ask("endpoints", target).stdout, target
        assert json.loads(ask("policy", target).stdout)["protocol"] == "detect", target
    assert "two-1" in ask("endpoints", "two:8081").stdout
    for kind in ("endpoints", "policy"):
        done = ask(kind, "two")
        assert done.returncode == 2 and "accepted: two:PORT" in done.stderr, done
        done = ask(kind, "nix")
        assert done.returncode == 1 and "no such service" in done.stderr and "accepted: NAME[.NAMESPACE" in done.stderr, done
    assert [n["metadata"]["name"] for n in mesh.ask("get", "namespaces")["items"]] == ["default"]
    slices = {s["metadata"]["name"]: s for s in mesh.ask("get", "endpointslices")["items"]}
    assert slices["one"]["endpoints"][0]["targetRef"]["name"] == "one-1" and set(slices) == {"one", "two"}, slices
    assert mesh.address("one-1") in mesh.tulle("get", "endpointslices", "--mesh", mesh.name).stdout


def test_a_control_plane_that_is_stopped(mesh):
    mesh.up()
    pid = mesh.control_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = mesh.tulle("get", "pods", "--mesh", mesh.name, check=False)
        assert done.returncode == 1 and time.monotonic() - start < 6
        assert f"(pid {pid}, stopped by a signal) has not answered within 3s" in done.stderr, done
        done = mesh.tulle("check", "--mesh", mesh.name, check=False)
        assert done.returncode == 1 and f"kill -CONT {pid}" in done.stdout and "tulle down" not in done.stdout, done
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_setting_that_does_nothing_is_told(mesh):
    mesh.up()
    env = {"LINKERD2_PROXY_LOGG": "debug", "LINKERD2_PROXY_INGRESS_MODE": "true"}
    pod = mesh.run("one", ["sleep", "infinity"], env=env)
    mesh.wait("both are named", lambda: "name=LINKERD2_PROXY_LOGG" in pod.log() and "LINKERD2_PROXY_INGRESS_MODE" in pod.log(), 15)
    assert pod.log().count("without effect") == 1 and pod.log().count("is it misspelt") == 1, pod.log()


def test_proxy_metrics_says_what_it_takes(mesh):
    mesh.up()
    done = mesh.tulle("diagnostics", "proxy-metrics", "--mesh", mesh.name, check=False)
    assert done.returncode == 1 and "`tulle run` starts one" in done.stderr, done
    mesh.origin("one-1", "one", ports="http1")
    mesh.ready("one-1")
    assert "process_start_time_seconds" in mesh.tulle("diagnostics", "proxy-metrics", "--mesh", mesh.name).stdout
    done = mesh.tulle("diagnostics", "proxy-metrics", "nix", "--mesh", mesh.name, check=False)
    assert done.returncode == 1 and 'found "nix"' in done.stderr and "(one, one-1)" in done.stderr, done


def test_edges_keeps_the_name_of_a_client_that_has_ended(mesh):
    mesh.up()
    mesh.origin("server", "server", "--service-account", "server", ports="http1")
    mesh.ready("server")
    code, log = mesh.curl("caller", "http://server:8080/")
    assert code == 0, log

    def edge():
        return next((e for e in mesh.ask("edges", "--since-start") if e["dst"] == "server" and e["src_ended"]), None)
    seen = mesh.wait("the edge is told", edge, 10, every=0.1)
    assert seen["src"] == "caller" and seen["secured"], seen
    assert "caller (ended)   server" in mesh.tulle("edges", "--since-start", "--mesh", mesh.name).stdout


def of_mesh(name):
    """Processes that belong to a mesh."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words, state = (path / "cmdline").read_bytes(), (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if name.encode() in words and state != "Z" and int(path.name) != os.getpid():
            found.append(words.replace(b"\0", b" ").decode())
    return found


def test_up_in_the_foreground_that_is_killed(cli, tmp_path):
    """`kill -9`: no process and no socket is left; the next `up` takes the rest as its own and says nothing of it."""
    name = "k" + os.urandom(4).hex()
    env = {"XDG_RUNTIME_DIR": str(cli.runtime), "XDG_STATE_HOME": str(cli.state)}
    command = [BIN / "tulle", "up", "--mesh", name, "--dir", tmp_path / "manifests"]
    up = procs.Process("up", [*command, "--foreground"], tmp_path, env)
    wait_until("it is up", lambda: "is up." in up.log(), 20)
    assert len(of_mesh(name)) >= 2, of_mesh(name)
    up.popen.send_signal(signal.SIGKILL)
    up.popen.wait()
    done = cli(*command[1:])  # at once: what is about to end is not taken for a mesh that is up
    assert done.returncode == 0 and f"Mesh {name} is up.\n" in done.stdout and done.stderr == "", done
    assert cli("get", "pods", "--mesh", name).returncode == 0
    assert cli("down", "--mesh", name, "--purge").returncode == 0

    up = procs.Process("again", [*command, "--foreground"], tmp_path, env)
    wait_until("it is up", lambda: "is up." in up.log(), 20)
    up.popen.send_signal(signal.SIGKILL)
    up.popen.wait()
    wait_until("no process is left", lambda: not of_mesh(name), 15)
    sockets = [p for p in cli.runtime.rglob("*") if p.is_socket()]
    assert not sockets, sockets
    assert cli("down", "--mesh", name, "--purge").stdout == f"Mesh {name} was not up; its keys and addresses are gone.\n"
    assert not list(cli.runtime.iterdir()) and not (cli.state / "tulle").exists()


def test_up_that_fails_leaves_no_folder(cli, tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(BIN / "tulle", tmp_path / "bin/tulle")  # which looks for its siblings beside itself
    env = {**os.environ, "XDG_RUNTIME_DIR": str(cli.runtime), "XDG_STATE_HOME": str(cli.state), "PATH": "/usr/bin:/bin"}

    def up():
        return subprocess.run([tmp_path / "bin/tulle", "up", "--mesh", "none", "--dir", tmp_path / "m"], text=True, capture_output=True, env=env)
    done = up()
    assert done.returncode == 1 and "tulle-control is neither in" in done.stderr, done
    assert not list(cli.runtime.iterdir()) and not cli.state.joinpath("tulle").exists() and not (tmp_path / "m").exists()
    control = tmp_path / "bin/tulle-control"
    control.write_text("#!/bin/sh\necho no luck today\nexit 3\n")
    control.chmod(0o755)
    done = up()
    assert done.returncode == 1 and "no luck today" in done.stderr, done
    assert not list(cli.runtime.iterdir()), "only the log that the message names stays"
    assert [p.name for p in (cli.state / "tulle/none").iterdir()] == ["control.log"]


def test_a_local_mesh_json_says_its_settings(mesh):
    """GET /v1/mesh, as a program asks it."""
    mesh.up()
    runtime = pathlib.Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/tulle-{os.getuid()}"))
    runtime = runtime / "tulle" / mesh.name if "XDG_RUNTIME_DIR" in os.environ else runtime / mesh.name
    admin = json.loads((runtime / "mesh.json").read_text())["admin"]
    with urllib.request.urlopen(f"http://{admin}/v1/mesh", timeout=5) as answer:
        told = json.load(answer)
    assert [c["name"] for c in told["certificates"]] == ["trust root", "issuer"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", c["expires"]) for c in told["certificates"])
    assert told["manifestFolder"] == str(mesh.manifests) and told["logLevel"] == "info"
