"""Waiting for what another process or thread does, never for ever."""

import time
from collections.abc import Callable

PATIENCE = 400
"""Seconds until something that hangs fails its test."""


def wait_until(true: Callable[[], object], what: str) -> None:
    """Return as soon as it is true. Raises AssertionError if it is not within PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
        time.sleep(0.02)
