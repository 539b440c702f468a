"""Where the records of delimited text begin and end.

A quoted cell begins right after a delimiter or line end and ends right before one, quotes within are doubled or
escaped, and records end at line ends outside quotes.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LONGEST_RECORD = 64 << 20


@dataclass(frozen=True)
class Dialect:
    """How cells and rows are set apart; `quote` and `escape` may be empty."""

    delimiter: str
    quote: str
    escape: str = ""


@dataclass(frozen=True)
class Record:
    """Cells, the line where they begin, and where they end: the next line, and characters from the start."""

    cells: list[str]
    line: int
    next_line: int
    end: int


class QuoteError(ValueError):
    """A quote that breaks the rules. `open`: it is not closed before the text ends."""

    def __init__(self, line: int, open_: bool) -> None:
        super().__init__()
        self.line, self.open = line, open_


def end_of_records(data: bytes, dialect: Dialect, final: bool) -> int | None:
    """How many bytes make whole records; None if a quote stands where none may, or may be escaped."""
    end = len(data) if final else data.rfind(b"\n") + 1
    quote = dialect.quote.encode()
    if dialect.escape and dialect.escape.encode() in data:
        return None
    if not quote or quote not in data:
        return end
    if len(quote) > 1 or not dialect.delimiter.isascii():
        return None
    cells = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(cells == quote[0])
    # Every other one opens: a doubled quote closes and opens again.
    opening, closing = quotes[::2], quotes[1::2]
    outside = np.frombuffer(dialect.delimiter.encode() + b"\r\n" + quote, np.uint8)
    before, after = cells[opening[opening > 0] - 1], cells[closing[closing + 1 < len(data)] + 1]
    if not (np.isin(before, outside).all() and np.isin(after, outside).all()):
        return None
    if final:
        return None if len(quotes) % 2 else end
    line_end = end - 1
    while line_end >= 0 and (n_before := int(np.searchsorted(quotes, line_end))) % 2:
        line_end = data.rfind(b"\n", 0, int(quotes[n_before - 1]))
    return line_end + 1


def records_of(text: str, dialect: Dialect, line: int) -> Iterator[Record]:
    """The records of a text whose first line has the number `line`. Raises QuoteError where a quote breaks them."""
    lines = _Lines(text, line)
    if len(dialect.delimiter) > 1:
        for written in lines:
            yield Record(written.rstrip("\r\n").split(dialect.delimiter), lines.line - 1, lines.line, lines.end)
        return
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_RECORD * 2))
    reader = csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
        strict=True,
    )
    begin = line
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise QuoteError(begin, "unexpected end" in str(error)) from error
        yield Record(cells, begin, lines.line, lines.end)
        begin = lines.line


class _Lines:
    """The lines of a text with their ends, counting how far they go: the next line's number, and characters."""

    def __init__(self, text: str, line: int) -> None:
        self._text = io.StringIO(text, newline="")
        self.line, self.end = line, 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        written = next(self._text)
        self.end += len(written)
        # Old line ends within a line end rows, but number nothing.
        self.line += written.endswith("\n")
        return written


def lines_of(block: bytes, dialect: Dialect, line: int, n_rows: int) -> Sequence[int]:
    """The line where each of a block's rows begins."""
    if block.count(b"\n") + (not block.endswith(b"\n")) == n_rows:
        return range(line, line + n_rows)
    records = records_of(block.decode("utf-8", "surrogateescape"), dialect, line)
    return [record.line for record in records if not is_blank(record.cells)]


def rows_within_quotes(data: bytes, dialect: Dialect, width: int, line: int) -> list[int]:
    """Numbers of the lines within quotes that look like rows of `width` cells.

    A quote that was not closed pairs with the next lone one, by all the rules, and swallows the rows between them.
    Prose has a blank after most commas, rows have none. `line`: number of the data's first line.
    """
    quote, delimiter = dialect.quote.encode(), dialect.delimiter.encode()
    if width < 2 or not quote or quote not in data or (dialect.escape and dialect.escape.encode() in data):
        return []
    cells = np.frombuffer(data, np.uint8)
    line_ends = np.flatnonzero(cells == ord("\n"))
    quoted = np.searchsorted(np.flatnonzero(cells == quote[0]), line_ends) % 2 == 1
    # The last byte of a delimiter stands for it; a blank after one makes the line prose.
    ends = np.flatnonzero(cells[:-1] == delimiter[-1])
    before = np.searchsorted(ends, np.append(line_ends, len(data)))
    blank_before = np.append(0, np.cumsum(cells[ends + 1] == ord(" ")))[before]
    like_rows = quoted & (np.diff(before) >= width - 1) & (np.diff(blank_before) == 0)
    found = []
    for place in np.flatnonzero(like_rows).tolist():
        begin = int(line_ends[place]) + 1
        last = place + 1 == len(line_ends) or not quoted[place + 1]
        whole = data[begin : None if place + 1 == len(line_ends) else int(line_ends[place + 1])]
        within = whole.partition(quote)[0] if last else whole
        if whole.count(delimiter) == width - 1 and delimiter in within and delimiter + b" " not in within:
            found.append(line + place + 1)
    return found


def is_blank(cells: list[str]) -> bool:
    return not cells or (len(cells) == 1 and not cells[0].strip())
