"""One row per item or user: its profile, or the reason why it has none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from rlmrec_core.tables import PROFILES

_ROWS = 256  # read at a time

Status = Literal["ok", "missing", "declined", "failed"]


@dataclass(frozen=True)
class ProfileRow:
    """A row of the profiles table; see `rlmrec_core.tables.PROFILES`.

    status: ok, missing (there was nothing to write from), declined (the model will not) or failed (another try may
    succeed); error says why, also where an extractive profile took the place of the model's.
    """

    id: int
    generator: str
    status: Status
    summarization: str | None = None
    reasoning: str | None = None
    error: str | None = None
    model: str | None = None
    prompt_version: str | None = None
    prompt_hash: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    finish_reason: str | None = None
    attempts: int | None = None
    source_hash: str | None = None
    source_parts: tuple[bytes, ...] | None = None
    """What each piece of the source hashes to: tells how much of it changed."""
    worth_retrying: bool = False
    """Whether the model may yet write the profile that an extractive one stands in for."""

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> "ProfileRow":
        """A row as it was before it became one of the PROFILES table."""
        parts = written["source_parts"]
        return cls(**{**written, "source_parts": None if parts is None else tuple(parts)})


def rows_of(profiles: pa.Table) -> Iterator[ProfileRow]:
    """The rows of a PROFILES table, read a few at a time."""
    for batch in profiles.to_batches(_ROWS):
        yield from map(ProfileRow.of, batch.to_pylist())


def to_batch(rows: Sequence[ProfileRow]) -> pa.RecordBatch:
    """The rows as a batch of the PROFILES table."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in PROFILES]
    return pa.RecordBatch.from_arrays(columns, schema=PROFILES)
