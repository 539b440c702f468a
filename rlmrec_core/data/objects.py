"""Lines that each hold one object, as JSON or as a Python literal, turned into columns or dictionaries.

A block of lines is first given to Arrow's JSON parser as a whole. Where that does not take it, or where a line is not
what it should be, the block is read line by line, and what is wrong is told of each line.
"""

import ast
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pj

from rlmrec_core.data.lines import Block
from rlmrec_core.data.literals import as_json
from rlmrec_core.data.malformed import Fault

_NEITHER = "neither a JSON object nor a Python dictionary"


@dataclass(frozen=True)
class Record:
    """The object on one line."""

    line: int
    text: bytes
    fields: dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """The asked-for fields of a block, one row for each line that is not among the faults."""

    block: Block
    table: pa.Table
    faults: list[Fault]

    @cached_property
    def lines(self) -> list[tuple[int, bytes]]:
        """Number and text of the line of each row."""
        faulty = {fault.line for fault in self.faults}
        return [(number, line) for number, line in self.block.lines() if number not in faulty]


def read_columns(block: Block, schema: pa.Schema) -> Columns:
    """The fields that `schema` (of string and float64) names; missing ones are null, others are ignored."""
    table = _at_once(block, schema)
    return Columns(block, table, []) if table is not None else _line_by_line(block, schema)


def read_records(block: Block) -> tuple[list[Record], list[Fault]]:
    """Every line's object, and the lines that hold none."""
    records, faults = [], []
    rewritten = replace(block, data=as_json(block.data))
    for (number, line), (_, literal) in zip(block.lines(), rewritten.lines(), strict=True):
        try:
            records.append(Record(number, line, _parse(line, literal)))
        except ValueError as error:
            faults.append(Fault(number, str(error), line))
    return records, faults


def _at_once(block: Block, schema: pa.Schema) -> pa.Table | None:
    data = block.data if _is_json(block) else as_json(block.data)
    # The parser does not survive a block of nothing but null.
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        return None
    try:
        table = pj.read_json(
            pa.BufferReader(data),
            # Blocks are parsed side by side already.
            read_options=pj.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)
    except pa.ArrowException:
        return None
    return table if table.num_rows == block.n_lines else None


def _is_json(block: Block) -> bool:
    """Whether the first line is JSON: then all are expected to be."""
    start = block.data.lstrip()
    try:
        orjson.loads(start[: start.find(b"\n") + 1] or start)
    except orjson.JSONDecodeError:
        return False
    return True


def _line_by_line(block: Block, schema: pa.Schema) -> Columns:
    records, faults = read_records(block)
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for record in records:
        try:
            row = [_fit(record.fields.get(field.name), field) for field in schema]
        except ValueError as error:
            faults.append(Fault(record.line, str(error), record.text))
            continue
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return Columns(block, pa.table(columns, schema=schema), sorted(faults, key=lambda fault: fault.line))


def _parse(line: bytes, literal: bytes) -> dict[str, Any]:
    """The line's object; `literal` is the line rewritten as JSON. The quick ways first, then the thorough ones."""
    for attempt in (lambda: orjson.loads(line), lambda: orjson.loads(literal), *_thorough(line)):
        try:
            parsed = attempt()
        # The last three are how Python's own parsers give up on absurd nesting and on unhashable keys.
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(parsed, dict):
            return parsed
        break
    raise ValueError(_NEITHER)


def _thorough(line: bytes) -> Iterator[Any]:
    yield lambda: json.loads(line)  # takes half a surrogate pair
    yield lambda: ast.literal_eval(line.decode())


def _fit(value: Any, field: pa.Field) -> str | float | None:
    """The value in the field's type. Raises ValueError where it has no such form."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{field.name} is a {type(value).__name__}")
    if pa.types.is_string(field.type):
        return _text(value, field)
    return _number(value, field)


def _text(value: str | int | float, field: pa.Field) -> str:
    if isinstance(value, float):
        raise ValueError(f"{field.name} is a float")
    return encodable(str(value))


def _number(value: str | int | float, field: pa.Field) -> float | None:
    if isinstance(value, str) and not value.strip():
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{field.name} is not a number") from None


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs joined, and replaced where the other half is missing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def flat_text(value: Any, separator: str = ", ") -> str | None:
    """Whatever a release keeps in a field of an item, as text: lists joined, each part once; None where empty."""
    return separator.join(dict.fromkeys(_parts(value))) or None


def _parts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        named = value.get("name")
        for part in [named] if named is not None else value.values():
            yield from _parts(part)
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        text = encodable(str(value)).strip()
        if text and not (isinstance(value, float) and math.isnan(value)):
            yield text
