"""Raw cells turned into canonical columns; every bad cell is reported with its file, row and column."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data.chunks import Chunk
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.texts import TEXTS_CUT, clean_texts, flat_text, n_long
from rlmrec_core.data.times import MICROSECONDS, TimeColumn
from rlmrec_core.tables import ATTRIBUTES


def ids(chunk: Chunk, column: str) -> pa.Array:
    """Ids as strings, without blanks around them, whole numbers without a fraction of zero: 1.0 is 1.

    A missing id, and one whose digits a program has rounded, makes its row unusable. Raises DataError on a column that
    holds neither numbers nor text.
    """
    array = _plain(chunk, column)
    if pa.types.is_floating(array.type):
        return _with_ids(chunk, column, _whole(chunk, column, array))
    if pa.types.is_integer(array.type):
        return _with_ids(chunk, column, array.cast(pa.string()))
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_string(array.type):
        raise _wrong_type(chunk, column, array.type, "ids must be integers or strings")
    if column in chunk.odd:
        chunk.refuse(column, chunk.odd[column], "{} is not an id", "write an integer or a string")
    trimmed = trimmed_ids(array)
    bare = trimmed
    if blanks := pc.sum(pc.not_equal(trimmed, array)).as_py():
        chunk.counts[f"ids with blanks around them in {column!r}"] += blanks
        around = pc.fill_null(pc.not_equal(trimmed, array), False)
        chunk.repair(column, around, "has blanks around it, which are left out", "nothing need be done")
    trimmed, n = whole_ids(trimmed)
    if n:
        chunk.counts[UNIFIED.format(column)] += n
        whole = pc.fill_null(pc.not_equal(trimmed, bare), False)
        chunk.repair(column, whole, "is read as a whole number", "store ids as text or integers")
    if pc.any(pc.match_substring(trimmed, "e+", ignore_case=True)).as_py():
        rounded = pc.match_substring_regex(trimmed, r"^\d(\.\d+)?[Ee]\+\d+$")
        chunk.refuse(column, rounded, "{} has lost digits of the id", "format the column as text in the spreadsheet")
    return _with_ids(chunk, column, trimmed)


def refuse_repeated(chunk: Chunk, column: str, ids: pa.Array, seen: set[str]) -> None:
    """Make the rows unusable whose id occurred before; `seen` grows by the ids of the others."""
    first = []
    for item_id in ids.to_pylist():
        first.append(item_id is None or item_id not in seen)
        seen.add(item_id)
    chunk.refuse(column, ~np.array(first, bool), "item {} occurs twice", "keep one row per item")


def trimmed_ids(array: pa.Array) -> pa.Array:
    """The texts without what cannot be seen around them: white space, zeros, byte order marks, joiners of no width."""
    if _is_plain(array):
        return array
    trimmed = pc.utf8_trim_whitespace(array)
    if pc.any(pc.match_substring_regex(trimmed, f"^[{_UNSEEN}]|[{_UNSEEN}]$")).as_py():
        trimmed = pc.utf8_trim_whitespace(pc.utf8_trim(trimmed, _UNSEEN))
    return trimmed


def _is_plain(array: pa.Array) -> bool:
    """Whether all texts are of visible ASCII characters, as ids mostly are."""
    characters = _characters(array)
    return not len(characters) or bool(characters.min() > ord(" ") and characters.max() < 0x7F)


def _characters(array: pa.Array) -> npt.NDArray[np.uint8]:
    """The bytes of all texts."""
    _, offsets, content = array.buffers()
    if content is None or not len(array):
        return np.zeros(0, np.uint8)
    begin, end = np.frombuffer(offsets, np.int32)[[array.offset, array.offset + len(array)]]
    return np.frombuffer(content, np.uint8)[begin:end]


_UNSEEN = "\x00\ufeff\u200b\u200c\u200d\u2060"
UNIFIED = "ids like 1.0 read as 1 in {!r}"


def whole_ids(ids: pa.Array) -> tuple[pa.Array, int]:
    """The texts, whole numbers without a fraction of zero; and how many had one."""
    if not (_characters(ids) == ord(".")).any():
        return ids, 0
    whole = pc.replace_substring_regex(ids, r"^([+-]?\d+)\.0+$", r"\1")
    return whole, pc.sum(pc.not_equal(whole, ids)).as_py() or 0


def _with_ids(chunk: Chunk, column: str, array: pa.Array) -> pa.Array:
    missing = pc.or_kleene(array.is_null(), pc.is_in(array, value_set=_NO_ID))
    chunk.refuse(column, missing, "the id is missing", "give every row an id")
    return array


def _whole(chunk: Chunk, column: str, array: pa.Array) -> pa.Array:
    """Numbers as text, those without a fraction as integers."""
    numbers = array.cast(pa.float64())
    chunk.refuse(column, pc.fill_null(pc.is_nan(numbers), True), "the id is missing", "give every row an id")
    size = pc.abs(numbers)
    chunk.refuse(
        column, pc.greater(size, float(2**53)), "{} has lost digits of the id", "store ids as text or integers"
    )
    exact = pc.fill_null(pc.and_(pc.equal(pc.floor(numbers), numbers), pc.less_equal(size, float(2**53))), False)
    chunk.counts[UNIFIED.format(column)] += pc.sum(exact).as_py() or 0
    whole = pc.if_else(exact, numbers, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.coalesce(whole.cast(pa.string()), numbers.cast(pa.string()))


def texts(chunk: Chunk, column: str | None) -> pa.Array:
    """Optional text, cleaned; what is empty or says that there is none becomes null. No column: all null."""
    if column is None:
        return pa.nulls(len(chunk), pa.string())
    raw = written(chunk, column)
    chunk.counts[TEXTS_CUT] += n_long(raw)
    return clean_texts(raw)


def written(chunk: Chunk, column: str) -> pa.Array:
    """The cells as text, as they are. Numbers are written out, lists joined."""
    array = _plain(chunk, column)
    if not pa.types.is_string(array.type):
        try:
            array = array.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise _wrong_type(chunk, column, array.type, "text is expected") from error
    return array


def ratings(chunk: Chunk, column: str | None, decimal: str = ".") -> pa.Array:
    """Ratings as float32, null where the cell is empty or says that it is. Text and infinity make a row unusable.

    decimal: what stands before the decimals of a rating that is text.
    """
    if column is None:
        return pa.nulls(len(chunk), pa.float32())
    array = _plain(chunk, column)
    if pa.types.is_string(array.type):
        if column in chunk.odd:
            chunk.refuse(column, chunk.odd[column], "{} is not a number", "write a number, or leave the cell empty")
        array = _numbers(chunk, column, _given(array), decimal)
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
        raise _wrong_type(chunk, column, array.type, "a rating must be a number")
    array = array.cast(pa.float64())
    nan = pc.fill_null(pc.is_nan(array), False)
    if n := pc.sum(nan).as_py():
        chunk.counts[f"NaN read as no rating in {column!r}"] += n
        array = pc.if_else(nan, pa.scalar(None, pa.float64()), array)
    array = array.cast(pa.float32())
    way_out = "leave the cell empty where there is no rating, or drop the row"
    chunk.refuse(column, pc.invert(pc.is_finite(array)), "the rating is infinite or too big", way_out)
    return array


def timestamps(chunk: Chunk, column: str | None, times: TimeColumn) -> pa.Array:
    """Times in UTC of cells that are text, numbers or times. times: what is known of the column's form."""
    if column is None:
        return pa.nulls(len(chunk), MICROSECONDS)
    array = _plain(chunk, column)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        # Casting away a time zone keeps the instant, in UTC.
        return times.keep(array.cast(MICROSECONDS, safe=False))
    if column in chunk.odd:
        chunk.refuse(column, chunk.odd[column], "{} is not a time", "write a number or ISO 8601 text")
    if (texts := _times_as_text(array)) is None:
        raise _wrong_type(chunk, column, array.type, "a time must be a number, a timestamp or ISO 8601 text")
    return times.read(chunk, column, texts)


def _times_as_text(array: pa.Array) -> pa.Array | None:
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        array = array.cast(pa.string())
    return _given(array) if pa.types.is_string(array.type) else None


def with_known_times(chunks: Iterator[Chunk], column: str | None, times: TimeColumn) -> Iterator[Chunk]:
    """The chunks, of which the first are held back until enough of their times are seen to know the column's form."""
    if column is None or times.form is not None:
        yield from chunks
        return
    found: list[tuple[Chunk, pa.Array]] = []
    n = 0
    for chunk in islice(chunks, _HELD_AT_MOST):
        texts = _times_as_text(_plain(chunk, column))
        found.append((chunk, pa.nulls(len(chunk), pa.string()) if texts is None else texts))
        n += pc.sum(pc.not_equal(found[-1][1], "0")).as_py() or 0
        if n >= _TELLING:
            break
    times.recognise(column, found)
    yield from (chunk for chunk, _ in found)
    yield from chunks


_TELLING, _HELD_AT_MOST = 1000, 16


def attributes(chunk: Chunk, columns: Sequence[str]) -> pa.Array:
    """One list of (name, value) per row: the columns' non-empty cells."""
    values = [texts(chunk, column).to_pylist() for column in columns]
    rows = zip(*values, strict=True) if values else ((),) * len(chunk)
    return pa.array([as_attributes(zip(columns, row, strict=True)) for row in rows], ATTRIBUTES)


def as_attributes(pairs: Iterable[tuple[str, str | None]]) -> list[dict[str, str]] | None:
    """The pairs that have a value, in the form of the items table; None where there is none."""
    return [{"name": name, "value": value} for name, value in pairs if value] or None


def _plain(chunk: Chunk, column: str) -> pa.Array:
    """The column as it is, but text of any encoding as checked UTF-8."""
    array = chunk.columns[column]
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return array.cast(pa.string())
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return pa.array([None if cell is None else flat_text(cell) for cell in array.to_pylist()], pa.string())
    if not any(test(array.type) for test in _TEXT_TYPES):
        return array
    try:
        return array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        position = _first_failing(array.cast(pa.binary()), pa.string())
        way_out = "save the file as UTF-8"
        raise chunk.error(column, position, "the text is not UTF-8", way_out) from error


_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def _given(array: pa.Array) -> pa.Array:
    """The texts without blanks around them, null where they say that there is none."""
    trimmed = pc.utf8_trim_whitespace(array)
    return pc.if_else(pc.is_in(trimmed, value_set=_MISSING), pa.scalar(None, pa.string()), trimmed)


# What programs write for nothing, and Excel where a formula fails; as an id, NA may be one.
_NOTHING = ["", "nan", "NaN", "None", "null", "NULL", "<NA>", r"\N", "#N/A"]
_NO_ID = pa.array([*_NOTHING, "#REF!", "#VALUE!", "#NAME?"])
_MISSING = pa.array([*_NOTHING, "NAN", "NA", "N/A", "n/a", "none", "NaT", "-"])


def _numbers(chunk: Chunk, column: str, array: pa.Array, decimal: str) -> pa.Array:
    if decimal == ",":
        array = pc.replace_substring(array, ",", ".")
    try:
        return array.cast(pa.float64())
    except pa.ArrowInvalid:
        numbers = pa.array(pd.to_numeric(array.to_pandas(), errors="coerce").astype("float64"), from_pandas=True)
    way_out = "write a number, or leave the cell empty"
    if pc.any(pc.match_substring_regex(array, r"^-?\d+[.,][\d.,]+$")).as_py():
        way_out += ', without separators of thousands; for decimals after a comma set ingest.decimal = ","'
    chunk.refuse(column, pc.and_(pc.is_null(numbers), pc.is_valid(array)), "{} is not a number", way_out)
    return numbers


# For releases whose lines say in which unit their times are.
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 1e11, 1e14, 1e17


def epoch_times(numbers: pa.Array) -> pa.Array:
    """Times in UTC of seconds, milliseconds or microseconds since 1970 (float64), null where too big for any."""
    values = np.abs(numbers.fill_null(np.nan).to_numpy(zero_copy_only=False))
    scale = np.where(values < _SECONDS_BELOW, 1e6, np.where(values < _MILLISECONDS_BELOW, 1e3, 1.0))
    usable = pc.if_else(pa.array(values < _MICROSECONDS_BELOW), numbers, pa.scalar(None, pa.float64()))
    return pc.round(pc.multiply(usable, pa.array(scale))).cast(pa.int64()).cast(MICROSECONDS)


def _first_failing(array: pa.Array, target: pa.DataType) -> int:
    for position, cell in enumerate(array):
        try:
            cell.cast(target)
        except pa.ArrowInvalid:
            return position
    return 0


def _wrong_type(chunk: Chunk, column: str, found: pa.DataType, expected: str) -> DataError:
    return chunk.error(column, 0, f"the column's type is {found}; {expected}", "convert the column or name another")
