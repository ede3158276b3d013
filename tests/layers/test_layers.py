"""The layers of docs/ARCHITECTURE.md, held by a test: who may include whom, and where third-party headers may appear."""
import os
import pathlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBS = ["libs/base", "libs/rt", "libs/net", "libs/tls", "libs/http", "libs/httpio", "libs/grpc", "libs/observe", "libs/wire"]
PURE = ["libs/base", "libs/http", "libs/wire"]  # values and functions: no I/O, no clock, no thread

# folder → what its files may include besides themselves. Nothing else is allowed, so a new folder needs a line here.
MAY_INCLUDE = {
    "libs/base": [],
    "libs/rt": ["libs/base"],
    "libs/net": ["libs/base", "libs/rt"],
    "libs/tls": ["libs/base", "libs/rt", "libs/net"],
    "libs/http": ["libs/base"],
    "libs/httpio": ["libs/base", "libs/rt", "libs/net", "libs/tls", "libs/http"],
    "libs/grpc": ["libs/base", "libs/rt", "libs/net", "libs/tls", "libs/http", "libs/httpio"],
    "libs/observe": ["libs/base", "libs/rt", "libs/net", "libs/http", "libs/httpio"],
    "libs/wire": ["libs/base"],
    "proxy/config": ["libs/base", "libs/net", "libs/tls"],
    "proxy/model": PURE,
    "proxy/balance": PURE + ["proxy/model"],
    "proxy/discovery": LIBS + ["proxy/config", "proxy/model", "proxy/balance"],
    "proxy/worker": LIBS + ["proxy/config", "proxy/model", "proxy/balance", "proxy/discovery"],
    "proxy/outbound": LIBS + ["proxy/config", "proxy/model", "proxy/balance", "proxy/discovery", "proxy/worker"],
    "proxy/inbound": LIBS + ["proxy/config", "proxy/model", "proxy/balance", "proxy/discovery", "proxy/worker"],
    "proxy/tap": LIBS + ["proxy/model"],
    "proxy/admin": LIBS,
    "proxy/app": LIBS + ["proxy/"],
    "control/source": LIBS,
    "control/index": LIBS + ["control/source"],
    **{f"control/{role}": LIBS + ["control/source", "control/index"]
       for role in ("destination", "policy", "identity", "inject", "validate", "observe")},
    # Not a role: it holds them together, and shows what each would answer.
    "control/api": LIBS + ["control/source", "control/index", "control/destination", "control/policy", "control/identity"],
    "control/app": LIBS + ["control/"],
    "cli/pod": LIBS,
    "cli/render": LIBS,
    "cli/command": LIBS + ["cli/pod", "cli/render", "control/source", "control/validate"],
    "cli/run": LIBS + ["cli/pod", "cli/render", "cli/command"],
    "cli/app": LIBS + ["cli/", "control/source", "control/validate"],
    "bench": LIBS + ["proxy/", "control/"],
    "fuzz": LIBS + ["proxy/", "control/"],
}

# header prefix → folders whose .cc files may include it (headers of ours never show another project's headers, but for
# abseil's containers, which stand where the standard library's would).
THIRD_PARTY = {
    "openssl/": ["libs/tls"],
    "nghttp2/": ["libs/http"],
    "google/protobuf": ["libs/wire"],
    "ares": ["libs/net"],
    "re2/": ["libs/base", "proxy/model"],
    "fmt/": ["libs/base"],
    "spdlog/": ["libs/base"],
    "xxhash": ["libs/base"],
    "zlib": ["proxy/admin"],
    "simdjson": ["control/"],
    "nlohmann/": ["control/", "cli/"],
    "yaml-cpp/": ["control/", "cli/"],
    "CLI/": ["cli/", "control/app"],
}
NEVER = ["grpcpp/", "grpc/", "boost/", "folly/", "format>", "print>", "generator>"]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def sources(*endings):
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True, capture_output=True)
    if listed.returncode == 0:
        files = listed.stdout.split("\n")
    else:  # a copy without git: everything but what is built
        files = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()]
    return [f for f in files if f.endswith(endings) and not f.startswith("build/") and (ROOT / f).is_file()]


def folder_of(path):
    parts = path.split("/")
    return parts[0] if parts[0] in ("bench", "fuzz") else "/".join(parts[:2])


def includes(path):
    text = (ROOT / path).read_text(errors="replace")
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def allowed(folder, target):
    return target == folder or any(target == rule or (rule.endswith("/") and target.startswith(rule))
                                   for rule in MAY_INCLUDE.get(folder, []))


def crossings(path, found):
    """What of the includes `found` of `path` crosses a rule."""
    folder = folder_of(path)
    for line, kind, header in found:
        target = folder_of(header) if "/" in header else ""
        if kind == '"' and target in MAY_INCLUDE and not allowed(folder, target):
            yield f"{path}:{line}: {folder} may not include {target} ({header})"
        if kind == '"' and "/" not in header and not header.endswith(".pb.h"):
            yield f"{path}:{line}: include by the path from the root, not {header}"
        if any(header.startswith(n) or header + ">" == n for n in NEVER):
            yield f"{path}:{line}: {header} is used nowhere in this project"
        for prefix, owners in THIRD_PARTY.items():
            if header.startswith(prefix) and kind == "<":
                if not any(folder == o or (o.endswith("/") and path.startswith(o)) for o in owners):
                    yield f"{path}:{line}: {header} belongs into {', '.join(owners)} only"
                elif not path.endswith(".cc") and prefix not in ("nlohmann/", "CLI/"):
                    yield f"{path}:{line}: {header} may be included in .cc files only"
        if header.endswith(".pb.h") and not (folder == "libs/wire" and path.endswith(".cc")):
            yield f"{path}:{line}: generated messages are seen by libs/wire's .cc files only ({header})"


def test_no_include_crosses_a_layer():
    found = [c for path in sources(".cc", ".h") for c in crossings(path, includes(path))]
    assert not found, "\n" + "\n".join(found)


def test_the_rules_catch_what_they_are_for():
    bad = {
        "libs/http/a.h": ('"', "libs/rt/task.h"), "proxy/inbound/a.cc": ('"', "proxy/outbound/b.h"),
        "control/policy/a.cc": ('"', "control/identity/b.h"), "libs/net/a.cc": ("<", "openssl/ssl.h"),
        "libs/tls/a.h": ("<", "openssl/ssl.h"), "proxy/model/a.h": ('"', "libs/net/stream.h"),
        "libs/grpc/a.cc": ("<", "grpcpp/grpcpp.h"), "libs/base/a.cc": ("<", "format"),
    }
    for path, (kind, header) in bad.items():
        assert list(crossings(path, [(1, kind, header)])), f"{path} including {header} should be refused"
    assert not list(crossings("libs/httpio/a.h", [(1, '"', "libs/http/message.h")]))


def test_every_folder_has_a_rule():
    missing = {folder_of(f) for f in sources(".cc", ".h") if f.startswith(("libs/", "proxy/", "control/", "cli/"))} - set(MAY_INCLUDE)
    assert not missing, f"no rule in MAY_INCLUDE for {sorted(missing)}"


def test_each_header_compiles_alone(tmp_path):
    cache = os.environ.get("TULLE_CACHE", os.path.expanduser("~/.cache/tulle"))
    flags = ["-std=c++23", "-Wall", "-Wextra", "-Wno-unused-parameter", f"-I{ROOT}", f"-I{ROOT}/build/dev/proto", "-isystem", f"{cache}/aws-lc/include"]

    # At the same place each time, and told from where paths count, so that ccache knows what has not changed.
    units = ROOT / "build/headers"
    units.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"}

    def compile_alone(header):
        unit = units / (header.replace("/", "__") + ".cc")
        unit.write_text(f'#include "{header}"\n#include "{header}"\n')
        command = ["ccache", "clang++-19", *flags, "-c", str(unit), "-o", str(tmp_path / unit.name) + ".o"]
        done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT, env=env)
        return "" if done.returncode == 0 else f"{header}:\n{done.stderr[:1500]}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = [e for e in pool.map(compile_alone, sources(".h")) if e]
    assert not errors, "\n" + "\n".join(errors)


def test_no_path_of_a_machine():
    """The project must not know where it was made."""
    bad = re.compile(r"(^|[\s\"'=(:])/(work|root|home/[a-z]+|farm)/")
    found = []
    for path in sources(".cc", ".h", ".py", ".md", ".txt", ".cmake", ".sh", ".yaml", ".json", ".proto", "dev", "run"):
        for number, text in enumerate((ROOT / path).read_text(errors="replace").split("\n"), 1):
            if bad.search(text):
                found.append(f"{path}:{number}: {text.strip()[:120]}")
    assert not found, "\n" + "\n".join(found)
