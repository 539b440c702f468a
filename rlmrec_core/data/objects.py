"""Lines that each hold one object, as JSON or as a Python literal, turned into columns or dictionaries.

A block of lines is first given to Arrow's JSON parser as a whole. Where that does not take it, or where a line is not
what it should be, the block is read line by line, and what is wrong is told of each line.
"""

import ast
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json as pj

from rlmrec_core.data.lines import Block
from rlmrec_core.data.literals import as_json
from rlmrec_core.data.malformed import Fault
from rlmrec_core.data.texts import encodable

_ESCAPE = re.compile(r"\\(.)")
_KNOWN_ESCAPES = "\"'\\nrtbfxuUNav01234567"
_NEITHER = "neither a JSON object nor a Python dictionary"


@dataclass(frozen=True)
class Record:
    """The object on one line."""

    line: int
    text: bytes
    fields: dict[str, Any]

    def fault(self, problem: str) -> Fault:
        """What is wrong with this line."""
        return Fault(self.line, problem, self.text)


@dataclass(frozen=True)
class Columns:
    """The asked-for fields of a block: one row for each of `records`; read as a whole, a block has none of these."""

    table: pa.Table
    records: list[Record]
    faults: list[Fault]


def read_records(block: Block) -> tuple[list[Record], list[Fault]]:
    """Every line's object, and the lines that hold none."""
    records, faults = [], []
    rewritten = block if _is_json(block) else replace(block, data=as_json(block.data))
    for (number, line), (_, literal) in zip(block.lines(), rewritten.lines(), strict=True):
        try:
            records.append(Record(number, line, _parse(line, literal)))
        except ValueError as error:
            faults.append(Fault(number, str(error), line))
    return records, faults


def columns_at_once(block: Block, schema: pa.Schema) -> Columns | None:
    """The fields that `schema` (of string and float64) names; missing ones are null, others are ignored.

    None if anything is amiss: `columns_line_by_line` then knows what.
    """
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
    return Columns(table, [], []) if table.num_rows == block.n_lines else None


def _is_json(block: Block) -> bool:
    """Whether the first line is JSON: then all are expected to be."""
    start = block.data.lstrip()
    try:
        orjson.loads(start[: start.find(b"\n") + 1] or start)
    except orjson.JSONDecodeError:
        return False
    return True


def columns_line_by_line(block: Block, schema: pa.Schema) -> Columns:
    """The same fields, with every line that has no usable form of them among the faults."""
    records, faults = read_records(block)
    rows, fitting = [], []
    for record in records:
        try:
            rows.append({field.name: _fit(record.fields.get(field.name), field) for field in schema})
            fitting.append(record)
        except ValueError as error:
            faults.append(record.fault(str(error)))
    return Columns(pa.Table.from_pylist(rows, schema=schema), fitting, faults)


def _parse(line: bytes, literal: bytes) -> dict[str, Any]:
    """The line's object; `literal` is the line rewritten as JSON. Raises ValueError if it holds none."""
    # No JSON begins like that, and to be refused costs a parser more than to parse.
    for form in (literal,) if line.startswith((b"{'", b"{u")) else (line, literal):
        try:
            parsed = orjson.loads(form)
            break
        except orjson.JSONDecodeError:
            continue
    else:
        parsed = _parse_thoroughly(line)
    if not isinstance(parsed, dict):
        raise ValueError(_NEITHER)
    return parsed


def _parse_thoroughly(line: bytes) -> Any:
    """What Python's own, slower parsers take of the line: half a surrogate pair, tuples, long escapes."""
    # The errors after the first are how they give up on absurd nesting and on keys that cannot be.
    with suppress(ValueError, RecursionError, MemoryError):
        return json.loads(line)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return ast.literal_eval(_ESCAPE.sub(_doubled, line.decode()))
    return None


def _doubled(escape: re.Match[str]) -> str:
    """An escape that Python does not know with the backslash doubled: the same text, without its warning."""
    return escape[0] if escape[1] in _KNOWN_ESCAPES else "\\" + escape[0]


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
