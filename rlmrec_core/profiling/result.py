"""One row per item or user, its profile or the reason why it has none, and the rows of one side as they are written."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from rlmrec_core.tables import PROFILES

_REASONS = 20  # told apart in a report; the rest is counted together
_ROWS = 256  # read at a time

Progress = Callable[[int, int], None]
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
    source_parts: tuple[int, ...] | None = None
    """What each piece of the source hashes to: tells how much of it changed."""
    source_pairs: tuple[int, ...] | None = None
    """The train pairs that it was written from: tells whether all of them are train still."""
    worth_retrying: bool = False
    """Whether the model may yet write the profile that an extractive one stands in for."""
    rejected: bool = False
    """Whether the last answer was of no use, and not a lack of one."""

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> "ProfileRow":
        """A row as it was before it became one of the PROFILES table."""
        lists = {name: written[name] for name in ("source_parts", "source_pairs")}
        return cls(**{**written, **{name: None if one is None else tuple(one) for name, one in lists.items()}})


def rows_of(profiles: pa.Table) -> Iterator[ProfileRow]:
    """The rows of a PROFILES table, read a few at a time."""
    for batch in profiles.to_batches(_ROWS):
        yield from map(ProfileRow.of, batch.to_pylist())


def to_batch(rows: Sequence[ProfileRow]) -> pa.RecordBatch:
    """The rows as a batch of the PROFILES table."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in PROFILES]
    return pa.RecordBatch.from_arrays(columns, schema=PROFILES)


@dataclass
class _Tally:
    """Counts over rows, in constant memory but for the ids of those worth another try."""

    status: Counter[str] = field(default_factory=Counter)
    generators: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    words: int = 0
    unfinished: list[int] = field(default_factory=list)

    def add(self, row: ProfileRow) -> None:
        self.status[row.status] += 1
        self.generators[row.generator] += 1
        self.words += len((row.summarization or "").split())
        if row.error:
            reason = row.error[:200]
            self.reasons[reason if reason in self.reasons or len(self.reasons) < _REASONS else "other reasons"] += 1
        if row.status == "failed" or row.worth_retrying:
            self.unfinished.append(row.id)


class ProfileResult:
    """Profiles of one side: a stream to be drained once, by `batches` or by `table`; the rest is known afterwards.

    batches: PROFILES, one row per item or user, by id. report: counts by status and reason, words, seconds, and what a
    model server took; plain JSON. unfinished: names the set of rows that are worth another try; None if all is done.
    """

    def __init__(
        self,
        rows: Iterable[list[ProfileRow]],
        split_hash: str,
        total: int,
        progress: Progress,
        costs: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.schema = PROFILES.with_metadata({"split_hash": split_hash})
        self._rows, self._total, self._progress, self._costs = rows, total, progress, costs
        self._tally, self._table = _Tally(), None
        self._started = time.monotonic()

    def rows(self) -> Iterator[list[ProfileRow]]:
        """The rows, in the order of ids, as they are written. Raises RunStopped if a model server ends the run."""
        done = 0
        for rows in self._rows:
            for row in rows:
                self._tally.add(row)
            yield rows
            done += len(rows)
            self._progress(done, self._total)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same as batches of the PROFILES table."""
        for rows in self.rows():
            yield to_batch(rows).replace_schema_metadata(self.schema.metadata)

    @property
    def table(self) -> pa.Table:
        """All rows at once."""
        self._table = self._table or pa.Table.from_batches(self.batches(), schema=self.schema)
        return self._table

    @property
    def unfinished(self) -> str | None:
        ids = self._tally.unfinished
        return f"{len(ids)} rows {hashlib.sha256(str(ids).encode()).hexdigest()[:16]}" if ids else None

    @property
    def report(self) -> dict[str, Any]:
        tally, ok = self._tally, max(self._tally.status["ok"], 1)
        return {
            "rows": tally.status.total(),
            "complete": not tally.unfinished,
            "status": dict(tally.status),
            "generators": dict(tally.generators),
            "reasons": dict(tally.reasons.most_common()),
            "mean_words": round(tally.words / ok, 1),
            "seconds": round(time.monotonic() - self._started, 3),
            **self._costs(),
        }
