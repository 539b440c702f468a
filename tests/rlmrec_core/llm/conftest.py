"""Vocabularies to count with."""

from pathlib import Path

import pytest

VOCABULARIES = Path(__file__).resolve().parents[4] / "shared" / "tiktoken"


@pytest.fixture
def vocabularies(monkeypatch: pytest.MonkeyPatch) -> None:
    """tiktoken's published vocabularies; tests that count exactly are skipped where they are absent."""
    if not VOCABULARIES.is_dir():
        pytest.skip(f"no tokenizer vocabularies at {VOCABULARIES}")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(VOCABULARIES))
