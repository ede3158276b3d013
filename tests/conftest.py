"""Fixtures for the black-box suites: they start the real programs and talk to them from outside."""
import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "examples/shop"), str(ROOT / "build/python")]

from support.mesh import Mesh, programs_missing  # noqa: E402

FAILED = pytest.StashKey()


@pytest.fixture(scope="session")
def binaries():
    """A missing program fails what needs it: the suites never pass by not running."""
    missing = programs_missing()
    if missing:
        pytest.fail(f"not built: {', '.join(missing)}; run ./dev build", pytrace=False)


@pytest.fixture
def mesh(binaries, tmp_path, request):
    """A mesh of its own for one test, on an empty folder of manifests; ended with everything that runs in it."""
    with Mesh(tmp_path) as one:
        yield one
        if request.node.stash.get(FAILED, False):
            one.show_logs()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        item.stash[FAILED] = True


def pytest_report_header():
    return f"user: uid {os.getuid()}"
