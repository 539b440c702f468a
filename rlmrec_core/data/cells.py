"""Raw cells turned into canonical columns; the first bad cell is reported with its file, row and column."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data.chunks import Chunk
from rlmrec_core.data.errors import DataError
from rlmrec_core.tables import ATTRIBUTES

MICROSECONDS = pa.timestamp("us")


def ids(chunk: Chunk, column: str) -> pa.Array:
    """Ids as strings. Raises DataError on a missing id and on a column that holds neither integers nor strings."""
    array = _plain(chunk, column)
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    if not pa.types.is_string(array.type):
        raise _wrong_type(chunk, column, array.type, "ids must be integers or strings")
    _refuse(chunk, column, pc.fill_null(pc.equal(array, ""), True), "the id is missing", "give every row an id")
    return array


def texts(chunk: Chunk, column: str | None) -> pa.Array:
    """Optional text; empty text becomes null. Numbers are written out. No column: all null."""
    if column is None:
        return pa.nulls(len(chunk), pa.string())
    array = _plain(chunk, column)
    if not pa.types.is_string(array.type):
        try:
            array = array.cast(pa.string())
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as error:
            raise _wrong_type(chunk, column, array.type, "text is expected") from error
    return without_blanks(array)


def without_blanks(array: pa.Array) -> pa.Array:
    """The strings, with null for those that are empty or all white space."""
    blank = pc.or_(pc.equal(array, ""), pc.utf8_is_space(array))
    return pc.if_else(blank, pa.scalar(None, pa.string()), array) if pc.any(blank).as_py() else array


def ratings(chunk: Chunk, column: str | None) -> pa.Array:
    """Ratings as float32, null where the cell is empty. Raises DataError on text, NaN and infinity."""
    if column is None:
        return pa.nulls(len(chunk), pa.float32())
    array = _plain(chunk, column)
    if pa.types.is_string(array.type):
        array = _numbers(chunk, column, texts(chunk, column))
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_decimal(array.type)):
        raise _wrong_type(chunk, column, array.type, "a rating must be a number")
    array = array.cast(pa.float64()).cast(pa.float32())
    way_out = "leave the cell empty where there is no rating, or drop the row"
    _refuse(chunk, column, pc.invert(pc.is_finite(array)), "the rating is NaN or infinite", way_out)
    return array


def timestamps(chunk: Chunk, column: str | None) -> pa.Array:
    """Times in UTC. Numbers are seconds since 1970, or milliseconds or microseconds where too big; text is ISO 8601."""
    if column is None:
        return pa.nulls(len(chunk), MICROSECONDS)
    array = _plain(chunk, column)
    if pa.types.is_string(array.type):
        return _parsed_times(chunk, column, texts(chunk, column))
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        # Casting away a time zone keeps the instant, in UTC.
        return array.cast(MICROSECONDS, safe=False)
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        return _epoch(chunk, column, array.cast(pa.float64()))
    raise _wrong_type(chunk, column, array.type, "a time must be a number, a timestamp or ISO 8601 text")


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
        return pa.array(
            [None if cell is None else ", ".join(map(str, cell)) for cell in array.to_pylist()], pa.string()
        )
    if not any(test(array.type) for test in _TEXT_TYPES):
        return array
    try:
        return array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid as error:
        position = _first_failing(array.cast(pa.binary()), pa.string())
        raise chunk.error(column, position, "the text is not UTF-8", "save the file as UTF-8") from error


_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
)


def _numbers(chunk: Chunk, column: str, array: pa.Array) -> pa.Array:
    array = pc.utf8_trim_whitespace(array)
    try:
        return array.cast(pa.float64())
    except pa.ArrowInvalid as error:
        position = _first_failing(array, pa.float64())
        problem = f"{array[position].as_py()!r} is not a number"
        raise chunk.error(column, position, problem, "write a number, or leave the cell empty") from error


def _parsed_times(chunk: Chunk, column: str, array: pa.Array) -> pa.Array:
    numeric = pc.match_substring_regex(array, r"^\s*-?\d+(\.\d+)?\s*$")
    if pc.all(numeric, min_count=0).as_py():
        return _epoch(chunk, column, _numbers(chunk, column, array))
    parsed = parsed_times(array)
    bad = pc.and_(pc.is_null(parsed), pc.is_valid(array))
    _refuse(chunk, column, bad, "not a time", "write seconds since 1970 or ISO 8601, such as 2020-01-31T12:00:00Z")
    return parsed


def parsed_times(array: pa.Array, form: str = "ISO8601") -> pa.Array:
    """Times in UTC of texts in the given form (as pandas names it), null where there is none."""
    times = pd.to_datetime(array.to_pandas(), format=form, utc=True, errors="coerce")
    return pa.array(times.dt.tz_localize(None), MICROSECONDS, from_pandas=True)


# Seconds stay below 1e11 until the year 5138, milliseconds pass it in 1973.
_SECONDS_BELOW, _MILLISECONDS_BELOW, _MICROSECONDS_BELOW = 1e11, 1e14, 1e17


def _epoch(chunk: Chunk, column: str, numbers: pa.Array) -> pa.Array:
    times = epoch_times(numbers)
    way_out = "write seconds, milliseconds or microseconds since 1970"
    bad = pc.and_(pc.is_null(times), pc.is_valid(numbers))
    _refuse(chunk, column, bad, "the number is too big for a time", way_out)
    return times


def epoch_times(numbers: pa.Array) -> pa.Array:
    """Times in UTC of seconds, milliseconds or microseconds since 1970 (float64), null where too big for any."""
    values = np.abs(numbers.fill_null(np.nan).to_numpy(zero_copy_only=False))
    scale = np.where(values < _SECONDS_BELOW, 1e6, np.where(values < _MILLISECONDS_BELOW, 1e3, 1.0))
    usable = pc.if_else(pa.array(values < _MICROSECONDS_BELOW), numbers, pa.scalar(None, pa.float64()))
    return pc.round(pc.multiply(usable, pa.array(scale))).cast(pa.int64()).cast(MICROSECONDS)


def _refuse(chunk: Chunk, column: str, bad: pa.Array, problem: str, way_out: str) -> None:
    position = pc.index(bad, True).as_py()
    if position >= 0:
        raise chunk.error(column, position, problem, way_out)


def _first_failing(array: pa.Array, target: pa.DataType) -> int:
    for position, cell in enumerate(array):
        try:
            cell.cast(target)
        except pa.ArrowInvalid:
            return position
    return 0


def _wrong_type(chunk: Chunk, column: str, found: pa.DataType, expected: str) -> DataError:
    return chunk.error(column, 0, f"the column's type is {found}; {expected}", "convert the column or name another")
