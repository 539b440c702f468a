"""Lines that cannot be used: counted, sampled into the report, and too many of them an error."""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from rlmrec_core.data.errors import DataError
from rlmrec_core.tables import MALFORMED

_SAMPLED = 20
_EXCERPT = 200


@dataclass(frozen=True)
class Fault:
    """What is wrong with one line."""

    line: int
    problem: str
    text: bytes


class MalformedLines:
    """The faults met so far, file by file. `limit`: how many each file may have."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sampled: dict[str, list[Fault]] = {}
        self._counts: dict[str, int] = {}

    def start(self, file: str) -> None:
        """Forget what an earlier reading of the file met."""
        self._sampled[file], self._counts[file] = [], 0

    def add(self, file: str, faults: Iterable[Fault]) -> None:
        """Record faults of a file, in the order of its lines. Raises DataError beyond the limit."""
        for fault in faults:
            self._counts[file] += 1
            if len(self._sampled[file]) < _SAMPLED:
                self._sampled[file].append(fault)
            if self._counts[file] > self._limit:
                problem = f"{fault.problem}; with this one, {self._counts[file]:,} lines of the file are malformed"
                way_out = f"repair the file, or allow more than {self._limit:,} (ingest.max_malformed)"
                raise DataError.at(problem, way_out, file=file, row=fault.line)

    @property
    def counts(self) -> dict[str, int]:
        """Malformed lines by file, without the files that have none."""
        return {file: n for file, n in self._counts.items() if n}

    def table(self) -> pa.Table:
        """The first faults of each file (MALFORMED)."""
        rows = [
            {"file": file, "line": fault.line, "problem": fault.problem, "text": _excerpt(fault.text)}
            for file, faults in self._sampled.items()
            for fault in faults
        ]
        return pa.Table.from_pylist(rows, schema=MALFORMED)


def _excerpt(text: bytes) -> str:
    shown = text[:_EXCERPT].decode("utf-8", "backslashreplace")
    return shown + "…" if len(text) > _EXCERPT else shown
