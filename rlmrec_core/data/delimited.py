"""Delimited text read as blocks of whole records, every one of them a row or a fault.

A block whose quotes stand where they may is given to Arrow's parser; any other one is read record by record. Both
follow the same rules: a quoted cell begins right after a delimiter or line end and ends right before one, quotes within
are doubled or escaped, and rows end at line ends outside quotes. A quote that breaks the rules would swallow rows, so
the file is refused with the row where it stands. One that another closes by chance breaks none: that is told.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv

from rlmrec_core.config.data import TableFormat
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import format_of, read_utf8
from rlmrec_core.data.malformed import Fault
from rlmrec_core.data.records import (
    LONGEST_RECORD,
    Dialect,
    QuoteError,
    Record,
    end_of_records,
    is_blank,
    lines_of,
    records_of,
    rows_within_quotes,
)

_SEPARATORS = (",", ";", "\t", "|")
# What Excel writes to itself on a first line.
_EXCELS_HINT = re.compile(r'("?)sep=([^\r\n])\1(?:\r\n|\r|\n)', re.IGNORECASE)
# No text holds it: stands in for a delimiter of more than one byte.
_UNIT_SEPARATOR = "\x1f"

Pick = Callable[[Sequence[str], str], Sequence[str]]
"""Names of the columns to read, of those that there are; raises DataError where one is missing. Also given: a hint."""


@dataclass
class Rows:
    """Some consecutive rows: the asked-for columns as text, and what could not be a row.

    numbers: of each row, counted from 1, malformed ones included. lines: where each begins in the file, from 1.
    doubtful: lines within quotes that look like rows.
    """

    columns: dict[str, pa.Array]
    numbers: Sequence[int]
    lines: Callable[[], Sequence[int]]
    faults: list[Fault] = field(default_factory=list)
    n_records: int = 0
    doubtful: Sequence[int] = ()


@dataclass(frozen=True)
class _Layout:
    """What the beginning of a file tells: all columns, those to read, and where its rows begin (bytes, line)."""

    file: Path
    dialect: Dialect
    names: list[str]
    wanted: list[str]
    block_column: str | None
    rest_in_last: bool
    start: int
    line: int


def read_delimited(file: Path, form: TableFormat, pick: Pick, block_column: str | None = None) -> Iterator[Rows]:
    """The rows of a file of delimited text, in order, as `form` says that it is written.

    block_column: name for what stands alone on a line, followed by a colon, above the rows that it belongs to.
    Raises DataError on a file that cannot be read, lacks a column, or whose quotes cannot be right.
    """
    blocks = read_utf8(file, form.encoding)
    first = next(blocks, b"")
    layout = _layout(file, form, pick, first, block_column)
    reader = _Reader(layout)
    rest = b""
    for block in chain([first[layout.start :]], blocks):
        rest += block
        # What has no end yet is not looked at again before there is twice as much of it.
        if len(rest) >= reader.enough:
            used, rows = reader.read(rest, final=False)
            yield rows
            rest = rest[used:]
            reader.enough = 2 * len(rest)
            if len(rest) > LONGEST_RECORD:
                raise reader.too_long()
    yield reader.read(rest, final=True)[1]


def _layout(file: Path, form: TableFormat, pick: Pick, first: bytes, block_column: str | None) -> _Layout:
    text = first.decode("utf-8", "surrogateescape")
    named, line = None, 1
    if told := _EXCELS_HINT.match(text):
        named, line, text = told[2], 2, text[told.end() :]
    skipped = len(first) - len(text.encode("utf-8", "surrogateescape"))
    dialect, hint = _dialect(file, form, named, text, pick)
    try:
        records = (record for record in records_of(text, dialect, line) if not is_blank(record.cells))
        top = next((record for record in records if not (block_column and _block_value(record.cells))), None)
    except QuoteError as error:
        raise _quote_refused(file, dialect, 1, error) from error
    if top is None:
        raise DataError.at("the file holds no rows", "write at least one row, or leave the file out", file=file)
    headed = not form.column_names if form.header is None else form.header
    names = [*form.column_names] if form.column_names or not headed else list(map(_plain_name, top.cells))
    if len(names) > len(top.cells):
        problem = f"{len(names)} column names for {len(top.cells)} columns"
        raise DataError.at(problem, "shorten ingest.column_names, or set the delimiter", file=file, row=1)
    names += [str(n + 1) for n in range(len(names), len(top.cells))]
    picked = pick([*names, block_column] if block_column else names, hint)
    if headed:
        skipped, line = skipped + len(text[: top.end].encode("utf-8", "surrogateescape")), top.next_line
    return _Layout(file, dialect, names, list(picked), block_column, form.rest_in_last_column, skipped, line)


def _plain_name(cell: str) -> str:
    """The name of a column without what cannot be seen around it."""
    return cell.strip().strip("\ufeff\u200b").strip()


def _dialect(file: Path, form: TableFormat, named: str | None, text: str, pick: Pick) -> tuple[Dialect, str]:
    """The dialect that is asked for, or usual for the suffix, or that makes the header name the wanted columns."""
    suffix = format_of(file)
    usual = "\t" if suffix == ".tsv" else ","
    header = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter, hint = form.delimiter or named, ""
    if delimiter is None and not form.column_names and form.header is not False:
        fitting = [one for one in (usual, *_SEPARATORS) if _fits(header, one, pick)]
        delimiter = fitting[0] if fitting else usual
        if not fitting and usual not in header:
            others = [one for one in (*_SEPARATORS, "::") if one in header]
            hint = f"; its cells seem to be set apart by {others[0]!r}: see ingest.delimiter" if others else ""
    delimiter = delimiter or usual
    # Names in quotes are names in quotes: only where quoting is a custom are they taken off.
    quoted = delimiter in ",;" or (suffix == ".csv" and len(delimiter) == 1)
    quote = form.quote if form.quote is not None else '"' if quoted else ""
    return Dialect(delimiter, quote, form.escape), hint


def _fits(header: str, delimiter: str, pick: Pick) -> bool:
    try:
        pick([_plain_name(name).strip('"') for name in header.split(delimiter)], "")
    except DataError:
        return False
    return True


class _Reader:
    """Turns bytes that begin with a record into rows, and remembers how many it has seen."""

    def __init__(self, layout: _Layout) -> None:
        self.enough = 0
        self._layout = layout
        self._n_rows, self._line = 0, layout.line
        self._block_value: str | None = None

    def read(self, data: bytes, *, final: bool) -> tuple[int, Rows]:
        """How many of the bytes make whole records, and those records."""
        rows = None
        end = None if self._layout.block_column else end_of_records(data, self._layout.dialect, final)
        if end is not None:
            rows = self._at_once(data[:end])
        if end is None or rows is None:
            end, rows = self._one_by_one(data, final)
        rows.doubtful = rows_within_quotes(data[:end], self._layout.dialect, len(self._layout.names), self._line)
        self._n_rows += rows.n_records
        self._line += data.count(b"\n", 0, end)
        return end, rows

    def too_long(self) -> DataError:
        """The error about a record that does not end."""
        problem = f"a row of more than {LONGEST_RECORD >> 20} MiB"
        way_out = f"close the quote that probably opens there, or {_unquoted(self._layout.dialect)}"
        return DataError.at(problem, way_out, file=self._layout.file, row=self._n_rows + 1, line=self._line)

    def _at_once(self, block: bytes) -> Rows | None:
        """The rows of whole records without any fault; None where there is one."""
        layout, dialect = self._layout, self._layout.dialect
        delimiter, content = dialect.delimiter, block
        if len(delimiter) > 1 or not delimiter.isascii():
            if _UNIT_SEPARATOR.encode() in block:
                return None
            delimiter, content = _UNIT_SEPARATOR, block.replace(delimiter.encode(), _UNIT_SEPARATOR.encode())
        if not content.strip(b"\r\n"):
            return Rows({name: pa.array([], pa.string()) for name in layout.wanted}, [], list)
        try:
            table = pacsv.read_csv(
                pa.BufferReader(content),
                pacsv.ReadOptions(column_names=layout.names, use_threads=False, block_size=len(content) + 1),
                pacsv.ParseOptions(delimiter=delimiter, quote_char=dialect.quote or False, newlines_in_values=True),
                pacsv.ConvertOptions(
                    column_types=dict.fromkeys(layout.wanted, pa.string()), include_columns=layout.wanted
                ),
            )
        except pa.ArrowInvalid:
            return None
        n = table.num_rows
        columns = {name: table[name].combine_chunks() for name in layout.wanted}
        numbers = range(self._n_rows + 1, self._n_rows + 1 + n)
        return Rows(columns, numbers, partial(lines_of, block, dialect, self._line, n), n_records=n)

    def _one_by_one(self, data: bytes, final: bool) -> tuple[int, Rows]:
        layout, width = self._layout, len(self._layout.names)
        text = data.decode("utf-8", "surrogateescape")
        if not final:
            text = text[: text.rfind("\n") + 1]
        kept: list[list[str]] = []
        numbers: list[int] = []
        lines: list[int] = []
        end = 0
        rows = Rows({}, numbers, lambda: lines)
        try:
            for record in records_of(text, layout.dialect, self._line):
                begin, end, cells = end, record.end, record.cells
                if is_blank(cells) and (width > 1 or not cells):
                    continue
                if layout.block_column and (value := _block_value(cells)):
                    self._block_value = value
                    continue
                rows.n_records += 1
                number = self._n_rows + rows.n_records
                if len(cells) > width and not any(cells[width:]):  # Delimiters at the end of the line.
                    del cells[width:]
                elif len(cells) > width and layout.rest_in_last:
                    cells[width - 1 :] = [layout.dialect.delimiter.join(cells[width - 1 :])]
                if len(cells) != width or (layout.block_column and not self._block_value):
                    rows.faults.append(_misfit(record, number, width, layout))
                    continue
                if layout.dialect.quote and (cell := _spaced(cells, layout.dialect, text[begin:end])):
                    problem = f"{cell[:80]!r} has a blank before its quote"
                    way_out = f"remove the blanks after the delimiter, or {_unquoted(layout.dialect)}"
                    rows.faults.append(Fault(record.line, problem, cell, number, None, way_out))
                    continue
                kept.append([*cells, self._block_value or ""] if layout.block_column else cells)
                numbers.append(number)
                lines.append(record.line)
        except QuoteError as error:
            if final or not error.open:
                raise _quote_refused(layout.file, layout.dialect, self._n_rows + rows.n_records + 1, error) from error
        names = [*layout.names, layout.block_column] if layout.block_column else layout.names
        for name in layout.wanted:
            at = names.index(name)
            rows.columns[name] = _as_utf8([cells[at] for cells in kept], name, rows, layout.file)
        return len(text[:end].encode("utf-8", "surrogateescape")), rows


def _block_value(cells: list[str]) -> str | None:
    return cells[0].strip().removesuffix(":").strip() if len(cells) == 1 and cells[0].rstrip().endswith(":") else None


def _spaced(cells: list[str], dialect: Dialect, written: str) -> str | None:
    """A cell whose quotes are text only because a blank stands before them; in a quoted cell they would be doubled."""
    found = (cell for cell in cells if cell[:1] in (" ", "\t") and cell.strip()[:1] == dialect.quote)
    closed = (cell for cell in found if cell.strip()[1:].endswith(dialect.quote))
    return next((cell for cell in closed if written.startswith(cell) or dialect.delimiter + cell in written), None)


def _misfit(record: Record, number: int, width: int, layout: _Layout) -> Fault:
    text = layout.dialect.delimiter.join(record.cells)
    if len(record.cells) == width:
        problem, way_out = f"no line with a {layout.block_column} and a colon stands above", "repair the file"
    else:
        n = len(record.cells)
        problem = f"{n} column{'s' * (n != 1)} where there should be {width}: {text[:80]!r}"
        way_out = "quote text that holds the delimiter, or repair the row"
    return Fault(record.line, problem, text, number, None, way_out)


def _as_utf8(cells: list[str], column: str, rows: Rows, file: Path) -> pa.Array:
    try:
        return pa.array(cells, pa.string())
    except UnicodeEncodeError as error:
        at = next(position for position, cell in enumerate(cells) if not _encodes(cell))
        way_out = 'save the file as UTF-8, or name its encoding, such as "cp1252", in ingest.encoding'
        row, line = rows.numbers[at], rows.lines()[at]
        problem = "the text is not UTF-8"
        raise DataError.at(problem, way_out, file=file, row=row, line=line, column=column) from error


def _encodes(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quote_refused(file: Path, dialect: Dialect, row: int, error: QuoteError) -> DataError:
    what = "opens here and is never closed" if error.open else "opens here and closes before the cell ends"
    escaped = "" if dialect.escape else ", or name what stands before them (ingest.escape)"
    way_out = f"close it, double the quotes within{escaped}, or {_unquoted(dialect)}"
    return DataError.at(f"a quote ({dialect.quote}) {what}", way_out, file=file, row=row, line=error.line)


def _unquoted(dialect: Dialect) -> str:
    return 'read the file without quoting (ingest.quote = "")' if dialect.quote else "repair the file"
