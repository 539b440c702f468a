"""A process killed at any stage loses that stage only, and the next run gives the bytes of an uninterrupted one."""

import subprocess
import sys
from pathlib import Path

from storage import StoreConfig
from tests.tasks.by_hand import run_by_hand, tiny
from tests.tasks.test_pipeline import STAGES, digests

ROOT = Path(__file__).parents[2]


def test_killed_at_every_stage(tmp_path):
    run_by_hand(tiny(), StoreConfig(url=str(tmp_path / "uninterrupted")))
    command = [sys.executable, "-m", "tests.integration.killed_at_every_stage", str(tmp_path / "killed")]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (killed.returncode, killed.stdout.split()) == (0, STAGES), killed.stderr
    assert digests(tmp_path / "killed") == digests(tmp_path / "uninterrupted")
    assert not list((tmp_path / "killed" / ".work").iterdir())
