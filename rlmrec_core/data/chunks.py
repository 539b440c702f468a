"""Raw table files read as a stream of chunks that remember where each row came from.

Cells of delimited text arrive as text, those of JSON Lines and Parquet with the types of the file; `cells` turns them
into the columns of the canonical tables.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlmrec_core.config.data import TableFormat
from rlmrec_core.data.delimited import read_delimited
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import ONE_PER_LINE, explained, format_of, holds_utf8, read_utf8, refuse_whole_json
from rlmrec_core.data.malformed import Fault, MalformedLines, excerpt
from rlmrec_core.data.objects import require_once

LINES_PER_CHUNK = 20_000
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
_UNTRUE = re.compile(r"\b(NaN|-?Infinity)\b")
_AS_WRITTEN = TableFormat()


Rows = TypeVar("Rows", pa.Array, pa.RecordBatch)


@dataclass
class Chunk:
    """Some consecutive rows of `file`.

    numbers: of each row, from 1. lines: where each begins in the file. faults: takes the rows that cannot be used;
    where there is none, the first of them is raised. usable: which rows have no fault so far. counts: of repairs.
    unread: names of the file's other columns.
    """

    file: Path
    columns: Mapping[str, pa.Array]
    numbers: Sequence[int]
    lines: Callable[[], Sequence[int]] | None = None
    faults: MalformedLines | None = None
    counts: Counter[str] = field(default_factory=Counter)
    odd: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Where a column of text holds what is neither text nor number: true, a list, an object."""
    unread: Sequence[str] = ()
    usable: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.usable = np.ones(len(self), bool)

    def __len__(self) -> int:
        return len(self.numbers)

    def refuse(self, column: str, bad: pa.Array | npt.NDArray[np.bool_], problem: str, way_out: str) -> None:
        """Report the rows where `bad` holds and make them unusable; `{}` in the problem stands for the cell's value."""
        where = bad if isinstance(bad, np.ndarray) else bad.fill_null(False).to_numpy(zero_copy_only=False)
        found = np.flatnonzero(where & self.usable)
        if not len(found):
            return
        self.usable[found] = False
        faults = (self._fault(column, int(position), problem, way_out) for position in found)
        if self.faults is None:
            raise next(faults).error(str(self.file))
        self.faults.add(str(self.file), faults)

    def repair(self, column: str, where: pa.Array | npt.NDArray[np.bool_], what: str, way_out: str) -> None:
        """Where all faults are collected, record some cells that are odd, as `what` says, and read all the same."""
        if self.faults is not None and self.faults.patient:
            found = np.flatnonzero(np.asarray(where) & self.usable).tolist()
            faults = (self._fault(column, position, f"{{}} {what}", way_out) for position in found)
            self.faults.repaired(str(self.file), what, faults)

    def usable_of(self, rows: Rows) -> Rows:
        """Those of the rows, of a column or a batch, that have no fault so far."""
        return rows if self.usable.all() else rows.filter(pa.array(self.usable))

    def error(self, column: str, position: int, problem: str, way_out: str) -> DataError:
        """The error about the cell at `position` (0-based) of this chunk."""
        return self._fault(column, position, problem, way_out).error(str(self.file))

    def _fault(self, column: str, position: int, problem: str, way_out: str) -> Fault:
        value = excerpt(str(self.columns[column][position].as_py())) if column in self.columns else ""
        lines = self.lines() if self.lines else None
        row = self.numbers[position]
        line = lines[position] if lines is not None else row
        return Fault(line, problem.replace("{}", repr(value)), value, row, column, way_out)


def read_chunks(
    files: Sequence[Path],
    columns: Sequence[str],
    form: TableFormat = _AS_WRITTEN,
    faults: MalformedLines | None = None,
    block_column: str | None = None,
) -> Iterator[Chunk]:
    """The named columns of every file, in order.

    faults: takes rows that are none; where it is missing, the first of them is raised. Raises DataError on a file that
    cannot be read or has no rows.
    """
    wanted = list(dict.fromkeys(columns))
    for file in files:
        empty = True
        for chunk in _reader_of(file, form, block_column)(file, wanted, form, faults):
            chunk.faults = faults
            empty = False
            yield chunk
        if empty:
            raise DataError.at("the file holds no rows", "write at least one row, or leave the file out", file=file)


def read_headless_chunks(file: Path, names: Sequence[str], faults: MalformedLines | None = None) -> Iterator[Chunk]:
    """A file whose columns have no header and are set apart by `::`, as MovieLens once was: in UTF-8, or in Latin-1."""
    encoding = "utf-8" if holds_utf8(file) else "latin-1"
    form = TableFormat(delimiter="::", quote="", column_names=tuple(names), encoding=encoding)
    return read_chunks([file], names, form, faults)


def parquet_columns(file: Path) -> list[str]:
    """The names of a Parquet file's columns. Raises DataError if it is none."""
    with explained(file):
        return list(pq.read_schema(file).names)


_Read = Callable[[Path, list[str], TableFormat, MalformedLines | None], Iterator[Chunk]]


def _reader_of(file: Path, form: TableFormat, block_column: str | None) -> _Read:
    suffix = format_of(file)
    if suffix in _JSON_SUFFIXES:
        return _read_json_lines
    if suffix == ".parquet":
        return _read_parquet
    if suffix in (".csv", ".tsv") or form.delimiter:
        return partial(_read_text, block_column=block_column)
    next(read_utf8(file, form.encoding), None)  # What is no text at all is called by its name.
    way_out = f"use one of {', '.join(SUFFIXES)} as the suffix, or name ingest.delimiter"
    raise DataError.at("unknown format", way_out, file=file)


def _read_text(
    file: Path, columns: list[str], form: TableFormat, faults: MalformedLines | None, block_column: str | None
) -> Iterator[Chunk]:
    unread: list[str] = []

    def pick(present: Sequence[str], hint: str) -> Sequence[str]:
        if len(present) == 1 and not hint:
            hint = ", no more; if lines stand above the header, remove them"
        _require(file, columns, present, hint)
        unread[:] = [name for name in present if name not in columns]
        return columns

    for rows in read_delimited(file, form, pick, block_column):
        _report(file, rows.faults, faults)
        if faults is not None:
            faults.doubt(str(file), rows.doubtful)
        if len(rows.numbers) or rows.faults:
            chunk = Chunk(file, rows.columns, rows.numbers, rows.lines, faults, unread=unread)
            if len(columns) > 1:
                way_out = "drop the row; where it is the first, leave ingest.column_names out or set ingest.header"
                chunk.refuse(columns[0], _names_again(rows.columns), "the row repeats the columns' names", way_out)
            yield chunk


def _names_again(columns: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_]:
    """Which rows hold the names of the columns, as where files were joined with their headers."""
    arrays = ((name, pc.utf8_trim(array, " \t\ufeff")) for name, array in columns.items())
    where = (pc.equal(array, name).to_numpy(zero_copy_only=False) for name, array in arrays)
    again: npt.NDArray[np.bool_] = np.logical_and.reduce(list(where))
    return again


def _report(file: Path, found: list[Fault], faults: MalformedLines | None) -> None:
    if found and faults is None:
        raise found[0].error(str(file))
    if faults is not None:
        faults.add(str(file), found)


def _read_parquet(
    file: Path, columns: list[str], _form: TableFormat, _faults: MalformedLines | None
) -> Iterator[Chunk]:
    present = parquet_columns(file)
    _require(file, columns, present)
    unread = [name for name in present if name not in columns]
    n_rows = 0
    with explained(file), pq.ParquetFile(file) as table:
        for batch in table.iter_batches(columns=columns):
            numbers = range(n_rows + 1, n_rows + 1 + batch.num_rows)
            n_rows += batch.num_rows
            if batch.num_rows:
                yield Chunk(file, {name: batch.column(name) for name in columns}, numbers, unread=unread)


def _read_json_lines(
    file: Path, columns: list[str], form: TableFormat, faults: MalformedLines | None
) -> Iterator[Chunk]:
    seen: set[str] = set()
    n_rows = n_lines = 0
    for lines in _lines(file, form.encoding):
        if not n_lines:
            refuse_whole_json(lines, file)
        objects, places, counts = [], [], Counter[str]()
        misfits: list[Fault] = []
        for line in lines:
            n_lines += 1
            if not line.strip():
                continue
            n_rows += 1
            try:
                objects.append(_parse(line, counts, columns))
                places.append((n_rows, n_lines))
            except ValueError as error:
                misfits.append(Fault(n_lines, str(error), line.strip(), n_rows, None, ONE_PER_LINE))
        _report(file, misfits, faults)
        seen.update(*objects)
        read = {name: _as_array([row.get(name) for row in objects]) for name in columns}
        odd = {name: where for name, (_, where) in read.items() if where is not None}
        numbers, begins = [row for row, _ in places], [line for _, line in places]
        if objects or misfits:
            arrays = {name: array for name, (array, _) in read.items()}
            unread = sorted(seen.difference(columns))
            yield Chunk(file, arrays, numbers, partial(list, begins), counts=counts, odd=odd, unread=unread)
    if seen:
        _require(file, columns, seen)


def _lines(file: Path, encoding: str | None) -> Iterator[list[bytes]]:
    """The lines of a file of text, several thousand at a time."""
    rest: list[bytes] = []
    for block in read_utf8(file, encoding):
        ended, line_end, begun = block.rpartition(b"\n")
        if not line_end:
            rest.append(begun)
            continue
        lines = (b"".join(rest) + ended).split(b"\n")
        rest = [begun]
        for start in range(0, len(lines), LINES_PER_CHUNK):
            yield lines[start : start + LINES_PER_CHUNK]
    yield [b"".join(rest)]


def _require(file: Path, columns: Iterable[str], present: Iterable[str], hint: str = "") -> None:
    """Raise DataError if a column is missing, or if it is not clear which of several is meant."""
    names = list(present)
    known = [name for name in names if name]
    for column in columns:
        alike = [name for name in names if _folded(name) == _folded(column)]
        if len(alike) > 1:
            problem = f"the file has {len(alike)} columns of that name: {', '.join(map(repr, alike))}"
            raise DataError.at(problem, "rename all but one", file=file, column=column)
        if column not in names:
            problem = f"the column is missing; the file has: {excerpt(', '.join(sorted(known))) or 'none'}{hint}"
            way_out = "rename it, or name the right one in the settings"
            if alike:
                way_out = f"did you mean {alike[0]!r}?"
            elif known and all(re.fullmatch(r"[\d.:-]+", name) for name in known):
                way_out = "if the first row is no header, name the columns in ingest.column_names"
            raise DataError.at(problem, way_out, file=file, column=column)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).split()).casefold()


def _parse(line: bytes, counts: Counter[str], columns: Sequence[str]) -> dict[str, Any]:
    """The line's object, its numbers with all their digits. Raises ValueError if it holds none, or a column twice."""
    try:
        parsed = _loads(line)
    except ValueError as error:
        # Python's own parser takes NaN, which is how it writes what is missing.
        try:
            parsed = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"not JSON: {str(error).partition(';')[0]}") from error
        if _UNTRUE.search(line.decode("utf-8", "replace")):
            counts["lines with NaN, which is no JSON, read as missing"] += 1
    if not isinstance(parsed, dict):
        raise ValueError(f"a JSON {type(parsed).__name__}, not an object")
    require_once(line, columns)
    return parsed


_LONG_NUMBER = re.compile(rb"[:\[,\s]-?\d{19}")


def _loads(line: bytes) -> Any:
    # The fast parser turns integers beyond 64 bits into floats.
    return json.loads(line) if _LONG_NUMBER.search(line) else orjson.loads(line)


def _as_array(values: Sequence[Any]) -> tuple[pa.Array, npt.NDArray[np.bool_] | None]:
    """The values with their own type, or as text where types are mixed; then also where one is no text or number."""
    # Arrow would make numbers of true, and floats of integers beside them, whose last digits go.
    kinds = set(map(type, values)) - {type(None)}
    try:
        if (bool in kinds and len(kinds) > 1) or {int, float} <= kinds:
            raise pa.ArrowInvalid("mixed")
        return pa.array(values, from_pandas=True), None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        odd = np.array([isinstance(value, bool | list | dict) for value in values], bool)
        return pa.array([_as_text(value) for value in values], pa.string()), odd


def _as_text(value: Any) -> str | None:
    """Text as it is, anything else as JSON writes it."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # Halves of surrogate pairs are no characters.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
