"""A share of a stage's work, and what a computation is given besides its inputs and settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


@dataclass(frozen=True)
class Shard:
    """A share of a stage's work that several processes divide among themselves.

    Attributes:
        number: Which shard this is, counted from 0.
        total: Into how many the work is divided.
        at_once: How many of them are worked on at the same time, at most.
        stage_key: Key of the artifact that the shards are joined to; empty where nobody checks.
        ledger: Names the place where paid answers are kept; empty where nobody checks.
    """

    number: int = 0
    total: int = 1
    at_once: int = 1
    stage_key: str = ""
    ledger: str = ""

    @property
    def title(self) -> str:
        """The shard's name for people."""
        return f"shard {self.number + 1} of {self.total}"

    def of(self, n: int) -> range:
        """This shard's share of n things: consecutive ones, as many as the others have or one more or less."""
        return range(n * self.number // self.total, n * (self.number + 1) // self.total)


WHOLE = Shard()


def _quiet(done: int, total: int) -> None:
    """Tell nobody how far the work is."""


@dataclass(frozen=True)
class Workplace:
    """Where a text stage computes: what it needs besides its inputs and settings, and what no result depends on.

    Attributes:
        ledger: SQLite file that keeps paid answers.
        account: The name under which the ledger counts what the answers cost.
        progress: Called now and then with how many are done, and of how many.
        shard: The share of the work that is to be done.
        joined: What shards have made already, which is not computed again; None if there is nothing.
    """

    ledger: Path
    account: str = "default"
    progress: Callable[[int, int], None] = _quiet
    shard: Shard = WHOLE
    joined: pa.Table | None = None
