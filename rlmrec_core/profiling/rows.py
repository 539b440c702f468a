"""One row per item or user: its profile, or the reason why it has none."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

from rlmrec_core.tables import PROFILES

Status = Literal["ok", "missing", "failed"]


@dataclass(frozen=True)
class ProfileRow:
    """A row of the profiles table; see `rlmrec_core.tables.PROFILES`.

    status: ok, missing (there was nothing to write from) or failed (it was tried); error says why for the last two.
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


def to_table(rows: Iterable[ProfileRow], split_hash: str) -> pa.Table:
    """The rows as a PROFILES table, by id; the schema's metadata names the split they were written from."""
    ordered = sorted(rows, key=lambda row: row.id)
    schema = PROFILES.with_metadata({"split_hash": split_hash})
    return pa.Table.from_pylist([asdict(row) for row in ordered], schema=schema)
