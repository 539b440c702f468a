"""Raw table files read as a stream of chunks that remember where each row came from.

CSV and TSV cells arrive as bytes, those of JSON Lines and Parquet with the types of the file; `cells` turns
them into the columns of the canonical tables. CSV and JSON Lines may be gzipped.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.lines import LineFile, read_blocks

_UNIT_SEPARATOR = "\x1f"
LINES_PER_CHUNK = 20_000
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of `file`; `first_row` counts data rows from 1."""

    file: Path
    first_row: int
    columns: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def error(self, column: str, position: int, problem: str, way_out: str) -> DataError:
        """The error about the cell at `position` (0-based) of this chunk."""
        return DataError.at(problem, way_out, file=self.file, row=self.first_row + position, column=column)


def find_files(folder: Path, pattern: str) -> list[Path]:
    """The files of `folder` that match a name or a glob pattern, sorted by name."""
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def read_chunks(files: Sequence[Path], columns: Sequence[str]) -> Iterator[Chunk]:
    """The named columns of every file, in order. Raises DataError on a file that cannot be read or has no rows."""
    for file in files:
        rows = 0
        for named in _reader_of(file)(file, list(dict.fromkeys(columns))):
            chunk = Chunk(file, rows + 1, named)
            rows += len(chunk)
            yield chunk
        if rows == 0:
            raise DataError.at("the file holds no rows", "write at least one row, or leave the file out", file=file)


def read_headless_chunks(file: Path, names: Sequence[str]) -> Iterator[Chunk]:
    """A file whose columns have no header and are set apart by `::`, in Latin-1, as MovieLens once was."""
    n_rows = 0
    for block in read_blocks(LineFile(file)):
        # The separator must be one character: one that no text holds.
        content = block.data.decode("latin-1").replace("::", _UNIT_SEPARATOR).encode()
        with _explained(file), _told_of_misfits(file, block.first_line - 1) as handler:
            table = csv.read_csv(
                pa.BufferReader(content),
                csv.ReadOptions(column_names=names, use_threads=False, block_size=len(content) + 1),
                csv.ParseOptions(delimiter=_UNIT_SEPARATOR, quote_char=False, invalid_row_handler=handler),
                csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True),
            )
        columns = {name: table[name].combine_chunks() for name in names}
        yield Chunk(file, n_rows + 1, columns)
        n_rows += table.num_rows


def parquet_columns(file: Path) -> list[str]:
    """The names of a Parquet file's columns. Raises DataError if it is none."""
    with _explained(file):
        return list(pq.read_schema(file).names)


Columns = dict[str, pa.Array]


def _reader_of(file: Path) -> Callable[[Path, list[str]], Iterator[Columns]]:
    if not file.is_file():
        raise DataError.at("no such file", "check ingest.path and the file's name", file=file)
    name = file.name.removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        return _read_csv
    if name.endswith((".jsonl", ".json")):
        return _read_json_lines
    if name.endswith(".parquet"):
        return _read_parquet
    raise DataError.at("unknown format", f"use one of {', '.join(SUFFIXES)} as the suffix", file=file)


def _read_csv(file: Path, columns: list[str]) -> Iterator[Columns]:
    convert = csv.ConvertOptions(
        # Bytes, so that ids keep their leading zeros and a broken character can be traced to its row.
        column_types=dict.fromkeys(columns, pa.binary()),
        include_columns=columns,
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    # The header is the row before the first.
    with _explained(file), _told_of_misfits(file, -1) as handler:
        parse = csv.ParseOptions(
            delimiter="\t" if ".tsv" in file.suffixes else ",", newlines_in_values=True, invalid_row_handler=handler
        )
        # Only one thread alone knows the number of a row.
        options = {"read_options": csv.ReadOptions(use_threads=False), "parse_options": parse}
        try:
            with csv.open_csv(file, convert_options=convert, **options) as reader:
                for batch in reader:
                    yield dict(zip(columns, batch.columns, strict=True))
        except KeyError:
            present = csv.open_csv(file, **options).schema.names
            _require(file, columns, present)
            raise


@contextmanager
def _told_of_misfits(file: Path, rows_before: int) -> Iterator[Callable[[csv.InvalidRow], str]]:
    """A handler of rows with too many or too few columns; the first of them is reported by its number."""
    misfits: list[csv.InvalidRow] = []

    def handler(row: csv.InvalidRow) -> str:
        misfits.append(row)
        return "error"

    try:
        yield handler
    except pa.ArrowInvalid as error:
        if not misfits:
            raise
        row = misfits[0]
        problem = f"{row.actual_columns} columns where there should be {row.expected_columns}: {row.text[:80]!r}"
        way_out = "quote text that holds the delimiter, or repair the row"
        raise DataError.at(problem, way_out, file=file, row=rows_before + row.number) from error


def _read_parquet(file: Path, columns: list[str]) -> Iterator[Columns]:
    _require(file, columns, parquet_columns(file))
    with _explained(file), pq.ParquetFile(file) as table:
        for batch in table.iter_batches(columns=columns):
            yield {name: batch.column(name) for name in columns}


def _read_json_lines(file: Path, columns: list[str]) -> Iterator[Columns]:
    seen: set[str] = set()
    n_rows = 0
    with _explained(file), _open(file) as stream:
        while lines := list(islice(stream, LINES_PER_CHUNK)):
            rows = [_parse(line, file, n_rows + position) for position, line in enumerate(lines, start=1)]
            n_rows += len(rows)
            seen.update(*rows)
            yield {name: _as_array([row.get(name) for row in rows]) for name in columns}
    if n_rows:
        _require(file, columns, seen)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn what the libraries raise on a damaged file into a DataError."""
    try:
        yield
    except (pa.ArrowInvalid, OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError.at(f"the file cannot be read: {error}", "repair or export it anew", file=file) from error


def _require(file: Path, columns: Iterable[str], present: Iterable[str]) -> None:
    names = sorted(present)
    for column in columns:
        if column not in names:
            problem = f"the column is missing; the file has: {', '.join(names) or 'none'}"
            raise DataError.at(problem, "rename it, or name the right one in the settings", file=file, column=column)


def _open(file: Path) -> BinaryIO:
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def _parse(line: bytes, file: Path, row: int) -> dict[str, Any]:
    way_out = "write one JSON object per line, in UTF-8"
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError.at(f"not JSON: {error}", way_out, file=file, row=row) from error
    if not isinstance(parsed, dict):
        raise DataError.at(f"a JSON {type(parsed).__name__}, not an object", way_out, file=file, row=row)
    return parsed


def _as_array(values: Sequence[Any]) -> pa.Array:
    """The values with their own type, or as text where types are mixed."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    """Text as it is, anything else as JSON writes it."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
