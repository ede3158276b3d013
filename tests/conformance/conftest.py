"""Outside tools for the suites here, and the table at the end: what judged, where, how many of its cases passed, which
did not. A module may name itself in it by TOOL and WHERE; a test that holds many cases of a tool gives them to `cases`."""
import os
import pathlib

import pytest
from support.mesh import PYTHON, server, service

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("TULLE_TOOLS", ROOT / "build/tools"))
HTTP1 = pathlib.Path(__file__).resolve().parent / "http1"
ROW = pytest.StashKey()


@pytest.fixture(scope="session")
def tools():
    """The folder of the outside programs. Where they cannot be had, what needs them is skipped, loudly."""
    if (TOOLS / "missing").exists():
        pytest.skip((TOOLS / "missing").read_text().strip())
    if not (TOOLS / "h2spec").exists():
        pytest.fail(f"no tools in {TOOLS}; run ./dev conformance", pytrace=False)
    return TOOLS


@pytest.fixture
def recorder(mesh):
    """A mesh with a pod `recorder`, http1/recorder.py, which writes `log` in the mesh's folder; anybody may talk to it."""
    mesh.manifest("recorder.yaml", service("recorder", "http", "http") + server("recorder", "http"))
    mesh.up()
    mesh.run("recorder", [PYTHON, HTTP1 / "recorder.py", 8080, mesh.folder / "log"], "--label", "app=recorder", "--port", "http=8080")
    mesh.ready("recorder")
    return mesh


@pytest.fixture
def cases(request):
    """cases(where, failing, total, wanted): the result of one tool's own cases; fails with their names if any failed."""
    def judge(where, failing, total, wanted):
        request.node.stash[ROW] = (request.module.TOOL, where, total - len(failing), wanted, list(failing))
        assert not failing, "\n" + "\n".join(failing)
        assert total == wanted, f"{total} cases were run, {wanted} were wanted"
    return judge


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    where = getattr(item.module, "WHERE", "")
    report.row = item.stash.get(ROW, None) or (getattr(item.module, "TOOL", item.path.name), where, int(report.passed), 1, [] if report.passed else [item.name])


def add_up(reports):
    """(tool, where) → [passed, total, failing names, reason of a skip]."""
    rows = {}
    for report in reports:
        tool, where, passed, total, failing = report.row
        row = rows.setdefault((tool, where), [0, 0, [], ""])
        if report.skipped:
            row[3] = report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
            continue
        row[0] += passed
        row[1] += total
        row[2] += failing
    return rows


def pytest_terminal_summary(terminalreporter):
    reports = [r for kind in ("passed", "failed", "error", "skipped") for r in terminalreporter.stats.get(kind, []) if hasattr(r, "row")]
    rows = add_up(reports)
    if not rows:
        return
    terminalreporter.section("conformance")
    widths = [max(len(key[i]) for key in rows) for i in (0, 1)]
    for (tool, where), (passed, total, failing, skipped) in sorted(rows.items()):
        what = f"{passed}/{total}" if total else "SKIPPED"
        rest = f"SKIPPED: {skipped}" if skipped and total else skipped
        terminalreporter.write_line(f"{tool:{widths[0]}}  {where:{widths[1]}}  {what:>9}  {rest}".rstrip())
        for name in failing:
            terminalreporter.write_line(f"    failed: {name}")
