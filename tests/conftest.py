"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Prefect makes its home when it is imported; the user's own stays untouched.
_PREFECT_HOME = Path(__file__).resolve().parents[1] / ".rlmrec" / "tests"
_PREFECT_HOME.mkdir(parents=True, exist_ok=True)
os.environ["PREFECT_HOME"] = str(_PREFECT_HOME)

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets, kept beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
