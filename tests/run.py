"""Runs every suite and adds up: unit tests by ctest, black-box suites by pytest. The mesh is made for ordinary users, so
when the caller is root, the suites run as one made for the purpose, and as root only what is another matter there.

The last line is `N passed, N failed, N skipped`; the exit code is 0 only if nothing failed and something passed.
Arguments narrow the run: they go to pytest, and the unit tests and the second run are left out.

TULLE_PRESET=asan or tsan (`./dev asan`, `./dev tsan`): the unit tests and the suites of SANITIZED with the programs of
that build, as the caller. What a sanitizer has to say of them, in build/PRESET/reports, is a failure each.
"""
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parents[1]
PRESET = os.environ.get("TULLE_PRESET", "dev")
BUILD = ROOT / "build" / PRESET
OF_THE_CLONE = ["tests/docs", "tests/layers"]  # read the sources, start nothing that could tell who runs it
SANITIZED = ["tests/mesh", "tests/http", "tests/wire", "tests/control", "tests/hostile", "tests/conformance"]
SCALE = {"asan": "4", "tsan": "8"}  # for bounds on time and memory: TULLE_TEST_SCALE
# The kernel gives a user namespace to programs of one thread only, and a program with TSan has one more, TSan's own. So
# the CLI, which has no thread of its own to race with, is the plain one there; proxies and control planes are not.
PLAIN = {"tsan": ["tulle"]}
# Pods and meshes have other means as root, and the demo captures packets, which only root may.
ONLY_AS_ROOT = ["tests/interop"]
AS_ROOT = [*ONLY_AS_ROOT, "tests/pod", "tests/mesh", "tests/demo/test_demo.py::test_the_demo_holds_its_conditions"]


def as_user_suites():
    """Every other folder of tests/: a new one runs by itself."""
    folders = sorted({f"tests/{p.parent.name}" for p in (ROOT / "tests").glob("*/test_*.py")})
    return [f for f in folders if f not in OF_THE_CLONE + ONLY_AS_ROOT]


def heading(text):
    print(f"\n=== {text} [{time.strftime('%H:%M:%S')}]", flush=True)


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add_junit(self, path, what):
        """Adds up a JUnit file; one that is missing or empty of tests is a failure: the runner did not get that far."""
        try:
            cases = list(ET.parse(path).getroot().iter("testcase"))
        except (OSError, ET.ParseError):
            cases = []
        if not cases:
            print(f"FAILED: {what} ran no test", flush=True)
            self.failed += 1
        for case in cases:
            kinds = {child.tag for child in case}
            if kinds & {"failure", "error"} or case.get("status") == "fail":
                self.failed += 1
            elif "skipped" in kinds or case.get("status") in ("notrun", "disabled"):
                self.skipped += 1
                reason = next((c.get("message") for c in case if c.tag == "skipped"), "")
                print(f"SKIPPED: {case.get('classname')} {case.get('name')}: {reason}", flush=True)
            else:
                self.passed += 1


def unit_tests(tally, folder):
    """ctest; each GoogleTest program also writes its own JUnit file, whose cases count instead of the program."""
    heading("unit tests")
    cases = folder / "gtest"
    junit = folder / "ctest.xml"
    done = subprocess.run(["ctest", "--test-dir", str(BUILD), "--output-on-failure", "-j", str(os.cpu_count()), "--output-junit", str(junit)],
                          env={**os.environ, "GTEST_OUTPUT": f"xml:{cases}/"}, stdin=subprocess.DEVNULL)
    tally.add_junit(junit, "ctest")
    if cases.is_dir():
        for path in cases.glob("*.xml"):
            good = [c for c in ET.parse(path).getroot().iter("testcase") if c.find("failure") is None]
            skipped = [c for c in good if c.find("skipped") is not None]
            tally.passed += max(0, len(good) - len(skipped) - 1)  # the program itself counted as one
            tally.skipped += len(skipped)
            for case in skipped:
                print(f"SKIPPED: {case.get('classname')} {case.get('name')}: {case.find('skipped').get('message').split(chr(10))[-1]}", flush=True)
    if done.returncode != 0 and tally.failed == 0:
        tally.failed += 1


def pytest(tally, name, junit, words, **how):
    heading(f"{name}: {' '.join(words)}")
    command = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", "--durations=5", f"--junitxml={junit}", *words]
    before = tally.failed
    done = subprocess.run(how.pop("prefix", []) + command, stdin=subprocess.DEVNULL, **how)
    tally.add_junit(junit, name)
    if done.returncode not in (0, 5) and tally.failed == before:
        print(f"FAILED: {name}: pytest ended with {done.returncode}", flush=True)
        tally.failed += 1


def as_user(tally):
    """As an ordinary user, with a copy of what the suites need: the clone itself may lie where only root may look."""
    name = f"tulle-test-{os.getpid()}"
    home = pathlib.Path(tempfile.mkdtemp(prefix="tulle-user-", dir="/var/tmp"))
    try:
        subprocess.run(["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/bash", name], check=True)
        user = pwd.getpwnam(name)
        copy = home / "tulle"
        for part in ("tests", "examples", "docs", "proto", "bench"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(BUILD / "bin", copy / "build/dev/bin")
        for part in ("build/python", "build/tools"):
            shutil.copytree(ROOT / part, copy / part)
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", str(home)], check=True)
        home.chmod(0o711)
        pytest(tally, f"as the user {name}", home / "junit.xml", as_user_suites(), cwd=copy,
               prefix=["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--inh-caps=-all", "--no-new-privs"],
               env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "USER": name, "LANG": "C.UTF-8", "TMPDIR": str(home)})
    finally:
        subprocess.run(["userdel", name], stderr=subprocess.DEVNULL)
        shutil.rmtree(home, ignore_errors=True)


def programs():
    """The folder of the programs to run: those of the build, but for those of PLAIN."""
    plain = PLAIN.get(PRESET)
    if not plain:
        return BUILD / "bin"
    folder = BUILD / "bin-of-pods"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in (BUILD / "bin").iterdir():
        if path.is_file():
            shutil.copy2(ROOT / "build/dev/bin" / path.name if path.name in plain else path, folder)
    return folder


def sanitized(tally, folder, words):
    """The suites with programs that report what they do wrong; a report fails the run even where every test passes."""
    reports = BUILD / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    os.environ |= {"TULLE_BIN": str(programs()), "TULLE_TEST_SCALE": SCALE[PRESET]}
    if not words:
        unit_tests(tally, folder)
    pytest(tally, f"with {PRESET}", folder / "pytest.xml", words or SANITIZED, cwd=ROOT)
    for path in sorted(reports.iterdir()):
        print(f"\nFAILED: {path}:\n{path.read_text(errors='replace')[:4000]}", flush=True)
        tally.failed += 1


def main():
    words, tally = sys.argv[1:], Tally()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tulle-tests-") as name:
        folder = pathlib.Path(name)
        if PRESET in SCALE:
            sanitized(tally, folder, words)
        else:
            if not words:
                unit_tests(tally, folder)
            whole_as_root = not words and os.getuid() == 0
            pytest(tally, "as the caller", folder / "pytest.xml", OF_THE_CLONE + AS_ROOT if whole_as_root else words or ["tests"], cwd=ROOT)
            if whole_as_root:
                as_user(tally)
    heading(f"{time.monotonic() - start:.0f} s")
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped", flush=True)
    sys.exit(0 if tally.failed == 0 and tally.passed > 0 else 1)


if __name__ == "__main__":
    main()
