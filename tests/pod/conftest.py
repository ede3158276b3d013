import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from fakes import Runner  # noqa: E402
from support.mesh import BIN  # noqa: E402


@pytest.fixture
def runner(tmp_path):
    if not os.access(BIN / "tulle", os.X_OK):
        pytest.fail("not built: tulle; run ./dev build", pytrace=False)
    for part in (tmp_path, *tmp_path.parents):  # programs that change user pass through
        if str(part).startswith(("/tmp/", "/var/tmp/")) and part.owner() == tmp_path.owner():
            part.chmod(0o711)
    one = Runner(tmp_path)
    yield one
    one.stop()
