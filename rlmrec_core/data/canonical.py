"""Blocks of a release's lines turned into batches of the canonical tables, and the lines that cannot be."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data import cells
from rlmrec_core.data.layouts import SECONDS, Item, Owned, Review
from rlmrec_core.data.lines import Block
from rlmrec_core.data.malformed import Fault
from rlmrec_core.data.objects import Columns, Record, exact_text, read_columns, read_records
from rlmrec_core.data.texts import MAX_CHARS, TEXTS_CUT, clean_texts, flat_text, leaves, n_long
from rlmrec_core.data.times import MICROSECONDS, parsed_times
from rlmrec_core.tables import INTERACTIONS, ITEMS

Parsed = tuple[pa.RecordBatch, list[Fault], Counter[str]]
"""The usable rows, what is wrong with the other lines, and how often something was repaired."""
Parse = Callable[[Block], Parsed]

_MISSING = "NaN read as missing"
_NO_RATING = pa.scalar(None, pa.float64())
_NO_TEXT = pa.scalar(None, pa.string())


def interaction_batch(block: Block, fields: Review) -> Parsed:
    """Batch of INTERACTIONS: a line needs both ids, and whatever else it has must be usable."""
    columns = read_columns(block, fields.schema)
    batch, wrong = _interactions(columns.arrays, len(columns.numbers), fields)
    usable, faults = _checked(columns, wrong)
    if faults:
        batch = batch.filter(usable)
    counts = Counter({TEXTS_CUT: n_long(columns.arrays[fields.review]) if fields.review else 0})
    counts[_MISSING] = columns.n_missing
    batch = _with_whole_ids(batch, {"user_id": fields.user, "item_id": fields.item}, counts)
    return batch.cast(INTERACTIONS), sorted(columns.faults + faults, key=lambda fault: fault.line), +counts


def owned_batch(block: Block, fields: Owned) -> Parsed:
    """Batch of INTERACTIONS without rating, time and review: a row for each item of each line's user."""
    records, faults = read_records(block, fields.user)
    rows: list[dict[str, Any]] = []
    for record in records:
        user, owned = _id(record.fields.get(fields.user)), record.fields.get(fields.items)
        if user is None or not isinstance(owned, list):
            faults.append(record.fault(f"{fields.items if user else fields.user} is missing"))
            continue
        items = [_id(entry.get(fields.item)) if isinstance(entry, dict) else None for entry in owned]
        faults += [record.fault(f"{fields.item} is missing")] * items.count(None)
        rows += [{"user_id": user, "item_id": item} for item in items if item is not None]
    return _built(rows, INTERACTIONS, {"user_id": fields.user, "item_id": fields.item}, faults, Counter())


def item_batch(block: Block, fields: Item) -> Parsed:
    """Batch of ITEMS: a line needs the id."""
    records, faults = read_records(block, fields.item)
    rows, counts = [], Counter[str]()
    for record in records:
        try:
            rows.append(_item(record.fields, fields))
            counts += _repaired(record, fields)
        except ValueError as error:
            faults.append(record.fault(str(error)))
        except RecursionError:
            faults.append(record.fault("nested too deeply"))
    return _built(rows, ITEMS, {"item_id": fields.item}, faults, counts)


def _built(
    rows: list[dict[str, Any]], schema: pa.Schema, ids: Mapping[str, str], faults: list[Fault], counts: Counter[str]
) -> Parsed:
    batch = _with_whole_ids(pa.RecordBatch.from_pylist(rows, schema=schema), ids, counts)
    return batch.cast(schema), sorted(faults, key=lambda fault: fault.line), counts


def _with_whole_ids(batch: pa.RecordBatch, ids: Mapping[str, str], counts: Counter[str]) -> pa.RecordBatch:
    """The batch with ids like 1.0 read as 1; ids: by our name their name in the file."""
    for name, source in ids.items():
        whole, n = cells.whole_ids(batch.column(name))
        if n:
            counts[cells.UNIFIED.format(source)] += n
            batch = batch.set_column(batch.schema.get_field_index(name), name, whole)
    return batch


def _repaired(record: Record, fields: Item) -> Counter[str]:
    """How much of an item is cut, and whether NaN stands for something that is missing; most lines cannot have it."""
    counts = Counter[str]()
    if len(record.text) > MAX_CHARS or b"NaN" in record.text:
        names = (fields.title, fields.description, *fields.attributes.values())
        values = [value for name in names if name for value in leaves(record.fields.get(name))]
        counts[TEXTS_CUT] = sum(isinstance(value, str) and len(value) > MAX_CHARS for value in values)
        counts[_MISSING] = int(any(value != value for value in values))
    return +counts


def _item(record: dict[str, Any], fields: Item) -> dict[str, Any]:
    if (written := _id(record.get(fields.item))) is None:
        raise ValueError(f"{fields.item} is missing")
    return {
        "item_id": written,
        "title": flat_text(record.get(fields.title)),
        "description": flat_text(record.get(fields.description), separator=" ") if fields.description else None,
        "attributes": cells.as_attributes(
            (name, flat_text(record.get(source))) for name, source in fields.attributes.items()
        ),
    }


def _id(value: Any) -> str | None:
    """An id as text without blanks around it, None if there is none."""
    known = isinstance(value, str | int | float) and not isinstance(value, bool) and value == value
    return (exact_text(value, "the id").strip() or None) if known else None


def _interactions(raw: dict[str, pa.Array], n: int, fields: Review) -> tuple[pa.RecordBatch, dict[str, pa.Array]]:
    """A row for each of the n in `raw`, and by problem where rows have it."""
    users, items = (cells.trimmed_ids(raw[name]) for name in (fields.user, fields.item))
    ratings = raw[fields.rating] if fields.rating else pa.nulls(n, pa.float64())
    if fields.unrated is not None:
        ratings = pc.if_else(pc.equal(ratings, fields.unrated), _NO_RATING, ratings)
    ratings = ratings.cast(pa.float32())
    reviews = clean_texts(raw[fields.review]) if fields.review else pa.nulls(n, pa.string())
    times, untimely = _times(raw[fields.time], fields.time_format) if fields.time else _no_times(n)
    wrong = {
        f"{fields.user} is missing": _is_blank(users),
        f"{fields.item} is missing": _is_blank(items),
        f"{fields.rating} is not a finite number": pc.fill_null(pc.invert(pc.is_finite(ratings)), False),
        f"{fields.time} is not a time": untimely,
    }
    arrays = [users, items, ratings, times, reviews, pa.nulls(n, pa.string())]
    return pa.RecordBatch.from_arrays(arrays, names=INTERACTIONS.names), wrong


def _times(values: pa.Array, form: str) -> tuple[pa.Array, pa.Array]:
    """The times, and where a value is none."""
    written = (
        values
        if form == SECONDS
        else pc.replace_with_mask(values, _is_blank(pc.utf8_trim_whitespace(values)), _NO_TEXT)
    )
    times = cells.epoch_times(written) if form == SECONDS else parsed_times(written, form)
    return times, pc.and_(pc.is_null(times), pc.is_valid(written))


def _no_times(n: int) -> tuple[pa.Array, pa.Array]:
    return pa.nulls(n, MICROSECONDS), pa.repeat(False, n)


def _is_blank(values: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(values, ""), True)


def _checked(columns: Columns, wrong: dict[str, pa.Array]) -> tuple[pa.Array, list[Fault]]:
    """Where a row passes all checks, and the first fault of each that does not."""
    usable = pa.repeat(True, len(columns.numbers))
    faults: list[Fault] = []
    for problem, rows in wrong.items():
        if not pc.any(rows).as_py():
            continue
        found = pc.indices_nonzero(pc.and_(rows, usable)).to_pylist()
        faults += [columns.fault(row, problem) for row in found]
        usable = pc.and_(usable, pc.invert(rows))
    return usable, faults
