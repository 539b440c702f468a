"""Times in the forms in which people write them: one form for a whole column.

The first cells that hold anything decide the form, unless it is named; whatever comes after them is read in that form
or refused. So a column never means two things.
"""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data.chunks import Chunk
from rlmrec_core.data.errors import DataError

MICROSECONDS = pa.timestamp("us")
_NAMES = {
    "seconds": "seconds since 1970",
    "milliseconds": "milliseconds since 1970",
    "microseconds": "microseconds since 1970",
    "nanoseconds": "nanoseconds since 1970",
    "iso": "ISO 8601",
    "yyyymmdd": "a date as YYYYMMDD",
    "year": "a year",
    "excel": "Excel's number of a day",
}
# Units in a second, and below what the numbers of a unit stay: seconds until the year 5138; for others the same.
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_SECONDS_BELOW = 1e11
_YEARS = (1900, 2100)
_EXCEL_DAYS = (20_000, 80_000)  # 1954 to 2119
_EXCEL_EPOCH_DAYS = 25_569
_DAY_SECONDS = 86_400
_FIRST_DAY, _LAST_DAY = 19_000_101, 21_001_231
_DATE_PARTS = r"^\s*(\d{1,2})[./ -](\d{1,2})[./ -](\d{4}|\d{2})\b,?"
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f")
_WAY_OUT = "write seconds since 1970 or ISO 8601, such as 2020-01-31T12:00:00Z, or name ingest.timestamp_format"


class TimeColumn:
    """The times of one column of one file. `form`: one of config's TimeForm or a pattern, None until it is known."""

    def __init__(self, form: str | None = None) -> None:
        self.form = form
        self._named = form is not None
        self._counts: Counter[str] = Counter()
        self._now = np.datetime64(int(time.time()) + _DAY_SECONDS, "s")

    def read(self, chunk: Chunk, column: str, cells: pa.Array) -> pa.Array:
        """Times in UTC of cells that are text, null where they are. Cells that are no times make their rows unusable.

        Raises DataError where the column's form cannot be told without a setting.
        """
        valid = cells.is_valid()
        if not pc.any(valid).as_py():
            return pa.nulls(len(cells), MICROSECONDS)
        numbers = _numbers(cells)
        if self.form is None:
            self.form = _recognised(chunk, column, cells, numbers)
        form = self.form or "iso"
        times = _parsed(cells, numbers, form, self._named)
        bad = pc.and_(pc.is_null(times), valid)
        what = _NAMES.get(form, f"a time in the form {form!r}")
        if self.form:
            model = "as ingest.timestamp_format says" if self._named else "as the others are"
            problem = f"{{}} is not {what}, {model}"
            way_out = f"write it as {what}, or name another ingest.timestamp_format"
        else:
            problem, way_out = "{} is not a time", _WAY_OUT
        chunk.refuse(column, bad, problem, way_out)
        self._count(times)
        return times

    def keep(self, times: pa.Array) -> pa.Array:
        """Times that the file holds as such."""
        self._count(times)
        return times

    def warnings(self, file: Path, column: str) -> list[str]:
        """What is strange about the times of a file that was read to its end."""
        n, found = self._counts["times"], []
        if n and self._counts["in 1970"] == n:
            found.append(f"{file}, column {column!r}: all times lie in 1970; check ingest.timestamp_format")
        if future := self._counts["in the future"]:
            found.append(f"{file}, column {column!r}: {future:,} of {n:,} times lie in the future; check their form")
        return found

    def _count(self, times: pa.Array) -> None:
        values = times.drop_null().to_numpy()
        self._counts["times"] += len(values)
        self._counts["in the future"] += int((values > self._now).sum())
        if self._counts["in 1970"] + len(values) == self._counts["times"]:
            self._counts["in 1970"] += int((values.astype("datetime64[Y]") == np.datetime64("1970", "Y")).sum())


def _numbers(cells: pa.Array) -> pa.Array:
    """int64 or float64; null where a cell is no number."""
    for kind in (pa.int64(), pa.float64()):
        try:
            return cells.cast(kind)
        except pa.ArrowInvalid:
            continue
    return pa.array(pd.to_numeric(cells.to_pandas(), errors="coerce").astype("float64"), from_pandas=True)


def _recognised(chunk: Chunk, column: str, cells: pa.Array, numbers: pa.Array) -> str | None:
    """The form of most cells; None where none is known. Raises DataError where only a person can tell."""
    values = numbers.drop_null().to_numpy()
    if 2 * len(values) >= len(cells) - cells.null_count:
        telling = values[values != 0]
        return _form_of_numbers(chunk, column, cells, numbers, telling) if len(telling) else None
    texts = cells.filter(pc.and_(cells.is_valid(), pc.is_null(numbers)))
    if pc.sum(pc.is_valid(_iso(texts))).as_py() * 2 >= len(texts):
        return "iso"
    dated = pc.match_substring_regex(texts, _DATE_PARTS)
    if pc.sum(dated).as_py() * 2 > len(texts):
        position = pc.index(pc.match_substring_regex(cells, _DATE_PARTS), True).as_py()
        problem = f"{cells[position].as_py()!r} does not say whether the day or the month comes first"
        way_out = "set ingest.timestamp_format to day-first or month-first"
        raise chunk.error(column, position, problem, way_out)
    return None


def _form_of_numbers(
    chunk: Chunk, column: str, cells: pa.Array, numbers: pa.Array, values: npt.NDArray[Any]
) -> str | None:
    if np.mean(~np.isnat(_compact_dates(values))) > 0.9:
        return "yyyymmdd"
    years = (values >= _YEARS[0]) & (values <= _YEARS[1])
    days = (values >= _EXCEL_DAYS[0]) & (values < _EXCEL_DAYS[1])
    # Of a few that are something else the form does not hang.
    if np.mean(years) > 0.9:
        position = pc.index(numbers, values[years][0]).as_py()
        problem = f"{cells[position].as_py()!r} and the others seem to be years, not seconds since 1970"
        raise chunk.error(column, position, problem, "set ingest.timestamp_format to year, or to seconds")
    if np.mean(days) > 0.9:
        position = pc.index(numbers, values[days][0]).as_py()
        problem = f"{cells[position].as_py()!r} and the others seem to be Excel's numbers of days"
        raise chunk.error(column, position, problem, "set ingest.timestamp_format to excel, or to seconds")
    limits = [_SECONDS_BELOW * unit for unit in _UNITS.values()]
    units = np.digitize(np.abs(values.astype("float64")), limits)
    return [*_UNITS, None][int(np.bincount(units).argmax())]


def _parsed(cells: pa.Array, numbers: pa.Array, form: str, named: bool) -> pa.Array:
    if form in _UNITS:
        return _epoch(numbers, _UNITS[form], named)
    if form == "iso":
        # A bare number in a column of dates is none, but for YYYYMMDD.
        short = pc.and_(numbers.is_valid(), pc.not_equal(pc.utf8_length(cells), 8))
        return _iso(pc.if_else(pc.fill_null(short, False), pa.scalar(None, pa.string()), cells))
    if form == "yyyymmdd":
        values = numbers.fill_null(0).to_numpy(zero_copy_only=False)
        return _as_times(_compact_dates(values))
    if form == "year":
        whole = pc.fill_null(pc.equal(pc.floor(numbers), numbers), False)
        inside = pc.and_(pc.greater_equal(numbers, 1), pc.less_equal(numbers, 9999))
        years = pc.if_else(pc.and_(whole, inside), numbers, pa.scalar(None, numbers.type)).cast(pa.float64())
        values = years.fill_null(np.nan).to_numpy(zero_copy_only=False)
        begins = (np.nan_to_num(values, nan=1970).astype("int64") - 1970).astype("datetime64[Y]").astype("M8[us]")
        return _as_times(np.where(np.isnan(values), np.datetime64("NaT"), begins))
    if form == "excel":
        days = pc.subtract(numbers.cast(pa.float64()), float(_EXCEL_EPOCH_DAYS))
        return _epoch(pc.round(pc.multiply(days, 1000.0 * _DAY_SECONDS)), 1000, named=True)
    if form in ("day-first", "month-first"):
        return _dated(cells, "%d/%m/" if form == "day-first" else "%m/%d/")
    return parsed_times(cells, form)


def _epoch(numbers: pa.Array, unit: int, named: bool) -> pa.Array:
    """Times of numbers of which `unit` make a second; null where a number must be of another unit."""
    size = pc.abs(numbers.cast(pa.float64(), safe=False))
    # No bigger than the year 5138, and no numbers of a larger unit: 0 often stands for none.
    fits = pc.less(size, _SECONDS_BELOW * unit)
    if unit > 1 and not named:
        fits = pc.and_(fits, pc.or_(pc.greater_equal(size, _SECONDS_BELOW * unit / 10_000), pc.equal(size, 0)))
    usable = pc.if_else(pc.fill_null(fits, False), numbers, pa.scalar(None, numbers.type))
    if pa.types.is_integer(usable.type):
        whole = pc.multiply(usable, 10**6 // unit) if unit <= 10**6 else pc.divide(usable, unit // 10**6)
        return whole.cast(MICROSECONDS)
    return pc.round(pc.multiply(usable, 1e6 / unit)).cast(pa.int64()).cast(MICROSECONDS)


def _compact_dates(values: npt.NDArray[Any]) -> npt.NDArray[np.datetime64]:
    """Times of numbers YYYYMMDD or YYYYMMDDhhmmss; NaT where they are none."""
    finite = np.where(np.isfinite(values), values, 0)
    whole = np.where(np.abs(finite) < 10**15, finite, 0).astype("int64")
    clocked = whole >= 10**13
    day = np.where(clocked, whole // 10**6, whole)
    clock = np.where(clocked, whole % 10**6, 0)
    hours, minutes, seconds = clock // 10_000, clock // 100 % 100, clock % 100
    fits = (day >= _FIRST_DAY) & (day <= _LAST_DAY) & (whole == values) & (hours < 24) & (minutes < 60) & (seconds < 60)
    year, month, of_month = day // 10_000, day // 100 % 100, day % 100
    fits &= (month >= 1) & (month <= 12) & (of_month >= 1)
    months = (np.where(fits, year, 1970) - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    months = months + np.where(fits, month - 1, 0)
    times = months.astype("datetime64[D]") + np.where(fits, of_month - 1, 0)
    fits &= times.astype("datetime64[M]") == months
    exact: npt.NDArray[np.datetime64] = times.astype("M8[us]") + (hours * 3600 + minutes * 60 + seconds) * 10**6
    return np.where(fits, exact, np.datetime64("NaT"))


def _as_times(times: npt.NDArray[np.datetime64]) -> pa.Array:
    return pa.array(times.astype("M8[us]"), MICROSECONDS)


def _iso(texts: pa.Array) -> pa.Array:
    for kind in (MICROSECONDS, pa.timestamp("us", "UTC")):
        try:
            return texts.cast(kind).cast(MICROSECONDS)
        except pa.ArrowInvalid:
            continue
    # Digits beyond microseconds are cut off; a comma may stand for the point.
    tidy = pc.replace_substring_regex(texts, r"[.,](\d{1,6})\d*", r".\1")
    tidy = pc.replace_substring_regex(tidy, r"\s*(UTC|GMT|z)$", "Z")
    return parsed_times(tidy)


def _dated(cells: pa.Array, order: str) -> pa.Array:
    """Times of texts such as 31.1.2020 15:30 or 1/31/20, 3:30:00 PM."""
    tidy = pc.utf8_upper(pc.replace_substring_regex(cells, _DATE_PARTS, r"\1/\2/\3"))
    times = pa.nulls(len(cells), MICROSECONDS)
    for year in ("%Y", "%y"):
        for clock in _CLOCKS:
            if times.null_count > cells.null_count:
                times = pc.coalesce(times, parsed_times(tidy, order + year + clock))
    return times


def parsed_times(array: pa.Array, form: str = "ISO8601") -> pa.Array:
    """Times in UTC of texts in the given form (as pandas names it), null where there is none."""
    try:
        # Without digits pandas takes "now" and "today" for times, too.
        digits = pc.match_substring_regex(array, r"\d")
        array = pc.if_else(digits, array, pa.scalar(None, pa.string()))
        times = pd.to_datetime(array.to_pandas(), format=form, utc=True, errors="coerce")
    except ValueError as error:
        raise DataError.at(f"no pattern of times: {error}", "repair ingest.timestamp_format") from error
    return pa.array(times.dt.tz_localize(None).dt.as_unit("us"), MICROSECONDS, from_pandas=True)
