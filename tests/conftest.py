"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Prefect makes its home when it is imported; the user's own stays untouched.
_PREFECT_HOME = Path(__file__).resolve().parents[1] / ".rlmrec" / "tests"
_PREFECT_HOME.mkdir(parents=True, exist_ok=True)
os.environ["PREFECT_HOME"] = str(_PREFECT_HOME)

_UP = "tests/integration/up/"

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With --dist loadfile, what shares one `rlmrec up` goes to one process, as the tests of a file do."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrUp(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _UP if nodeid.startswith(_UP) else super()._split_scope(nodeid)

    return ByFileOrUp(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets, kept beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
