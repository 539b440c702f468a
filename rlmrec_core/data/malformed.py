"""Rows and lines that cannot be used: counted, sampled into the report, and too many of them an error."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import pyarrow as pa

from rlmrec_core.data.errors import DataError, printable
from rlmrec_core.tables import MALFORMED

SAMPLED = 20
REPAIRED_SHOWN = 3
_EXCERPT = 200
_REPAIR = "repair the file"
_UNQUOTE = 'close it, or read the file without quoting (ingest.quote = "")'


@dataclass(frozen=True)
class Fault:
    """What is wrong with one line, or with one cell of a row. `text`: the line, or what the cell holds."""

    line: int
    problem: str
    text: bytes | str
    row: int | None = None
    column: str | None = None
    way_out: str | None = None

    def error(self, file: str, more: str = "") -> DataError:
        """The fault as an error; `more` is added to the problem."""
        row, line = (self.line, None) if self.row is None else (self.row, self.line)
        way_out, problem = self.way_out or _REPAIR, self.problem + more
        value = excerpt(self.text)
        return DataError.at(problem, way_out, file=file, row=row, line=line, column=self.column, value=value)


class MalformedLines:
    """The faults met so far, file by file.

    Args:
        limit: how many each file may have; None is any number.
        share: how large a share of a file's lines they may be.
        strict: whether a file may have any at all.
        sampled: how many of a file are kept for the table.
        patient: whether to go on where a file would be refused; `refusal` then holds the first error.
    """

    def __init__(
        self,
        limit: int | None,
        *,
        share: float = 1.0,
        strict: bool = False,
        sampled: int = SAMPLED,
        patient: bool = False,
    ) -> None:
        self._limit, self._share, self._strict, self._sampled_at_most = limit, share, strict, sampled
        self._sampled: dict[str, list[Fault]] = {}
        self._counts: dict[str, int] = {}
        self._doubtful: dict[str, tuple[int, int]] = {}
        self._repaired: dict[str, list[Fault]] = {}
        self.patient = patient
        self.refusal: DataError | None = None

    def start(self, file: str) -> None:
        """Forget what an earlier reading of the file met."""
        self._sampled[file], self._counts[file] = [], 0
        self._doubtful.pop(file, None)
        self._repaired.pop(file, None)

    def add(self, file: str, faults: Iterable[Fault]) -> None:
        """Record faults of a file, in the order of its lines. Raises DataError beyond the limit."""
        for fault in faults:
            self._counts[file] += 1
            if len(self._sampled[file]) < self._sampled_at_most:
                self._sampled[file].append(fault)
            if self._limit is not None and self._counts[file] > self._limit:
                more = f"; with this one, {self._counts[file]:,} lines of the file are malformed"
                if self._counts[file] > 1:
                    more += f"; the first, line {self._sampled[file][0].line:,}: {self._sampled[file][0].problem}"
                way_out = f"repair the file, or allow more than {self._limit:,} (ingest.max_malformed)"
                self._refuse(replace(fault, way_out=way_out).error(file, more))

    def repaired(self, file: str, kind: str, faults: Iterable[Fault]) -> None:
        """Record cells that are read all the same, of each kind the first few; `kind` ends their problems."""
        known = self._repaired.setdefault(file, [])
        n = sum(one.problem.endswith(kind) for one in known)
        known += islice(faults, REPAIRED_SHOWN - n)

    def doubt(self, file: str, lines: Sequence[int]) -> None:
        """Record lines within quotes that look like rows. Raises DataError where strict."""
        if lines:
            n, first = self._doubtful.get(file, (0, lines[0]))
            self._doubtful[file] = n + len(lines), first
            if self._strict:
                problem = "a line within quotes looks like a row: a quote before it may not be closed"
                self._refuse(DataError.at(problem, _UNQUOTE, file=file, line=first))

    @property
    def warnings(self) -> list[str]:
        """What was read though it may have been meant otherwise, one line each."""
        told = []
        for file, (n, first) in self._doubtful.items():
            what = f"{n:,} lines within quotes look like rows" if n > 1 else "a line within quotes looks like a row"
            told.append(f"{file}, line {first:,}: {what}; if a quote before is not closed, {_UNQUOTE}")
        return told

    def finish(self, file: str, n_usable: int) -> None:
        """Judge a file that was read to its end.

        Raises DataError if it has no usable line, if too large a share is malformed, or, where strict, if any is.
        """
        n = self._counts[file]
        if n == 0:
            if n_usable == 0:
                problem = "the file holds no usable line"
                self._refuse(DataError.at(problem, "check that it is the right file", file=file))
            return
        self._sampled[file].sort(key=lambda fault: fault.line)
        first, *others = self._sampled[file]
        share = n / (n + n_usable)
        if n_usable == 0:
            reasons = "; ".join(f"line {fault.line:,}: {fault.problem}" for fault in (first, *others[:2]))
            problem = f"the file holds no usable line; of {n:,} none can be read ({reasons})"
            self._refuse(DataError.at(problem, first.way_out or "check that it is the right file", file=file))
        elif self._strict:
            more = f"; {n:,} lines of the file are malformed, ingest.strict allows none" if n > 1 else ""
            self._refuse(first.error(file, more))
        elif share > self._share:
            more = f"; {n:,} of the file's {n + n_usable:,} lines ({share:.0%}) are malformed"
            way_out = f"{first.way_out or _REPAIR}, or allow a larger share (ingest.max_malformed_share)"
            self._refuse(replace(first, way_out=way_out).error(file, more))

    def _refuse(self, error: DataError) -> None:
        if not self.patient:
            raise error
        self.refusal = self.refusal or error

    @property
    def counts(self) -> dict[str, int]:
        """Malformed lines by file, without the files that have none."""
        return {file: n for file, n in self._counts.items() if n}

    def keep(self, error: DataError) -> None:
        """Put an error that ended the reading of a file among its faults, and among the refusals."""
        file = error.file or ""
        line, problem = error.line or error.row or 0, error.problem or str(error)
        fault = Fault(line, problem, error.value or "", error.row, error.column, error.way_out)
        if error is not self.refusal:
            self._sampled.setdefault(file, []).append(fault)
            self._counts[file] = self._counts.get(file, 0) + 1
        self.refusal = self.refusal or error

    def table(self) -> pa.Table:
        """The first faults of each file (MALFORMED)."""
        return _table(self._sampled)

    def repairs(self) -> pa.Table:
        """What was given to `repaired` (MALFORMED)."""
        return _table(self._repaired)


def _table(of_files: Mapping[str, Iterable[Fault]]) -> pa.Table:
    rows = [
        {"file": file, "text": printable(excerpt(fault.text))}
        | {name: getattr(fault, name) for name in ("line", "row", "column", "problem", "way_out")}
        for file, faults in of_files.items()
        for fault in faults
    ]
    return pa.Table.from_pylist(rows, schema=MALFORMED)


def excerpt(text: bytes | str) -> str:
    """The beginning of a text of any kind, fit to be shown."""
    shown, more = text[:_EXCERPT], "…" if len(text) > _EXCERPT else ""
    written = shown if isinstance(shown, bytes) else shown.encode("utf-8", "backslashreplace")
    return written.decode("utf-8", "backslashreplace") + more
