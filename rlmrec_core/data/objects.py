"""Lines that each hold one object, as JSON or as a Python literal, turned into columns or dictionaries.

Arrow's parser takes blocks of lines that are as they should be. What it does not take is read by slower ones, line by
line, so that what is wrong is told of each line and its neighbours are read as ever.
"""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.json as pajson

from rlmrec_core.data.lines import Block
from rlmrec_core.data.literals import as_json
from rlmrec_core.data.malformed import Fault
from rlmrec_core.data.texts import encodable

_ESCAPE = re.compile(r"\\(.)")
_KNOWN_ESCAPES = "\"'\\nrtbfxuUNav01234567"
_LONG_NUMBER = re.compile(rb"\d{19}")
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
    """The asked-for fields of a block, one row for each line that has them."""

    arrays: dict[str, pa.Array]
    numbers: Sequence[int]
    """Of each row's line, in the file."""
    block: Block
    faults: list[Fault]
    n_missing: int
    """Lines with NaN in one of the fields, which then is null."""

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.block.data.split(b"\n")

    def fault(self, row: int, problem: str) -> Fault:
        """What is wrong with the line of a row."""
        number = self.numbers[row]
        return Fault(number, problem, self._lines[number - self.block.first_line].strip())


def read_records(block: Block, key: str) -> tuple[list[Record], list[Fault]]:
    """Every line's object, and the lines that hold none, or two of the key."""
    records, faults = [], []
    rewritten = block if _is_json(block) else replace(block, data=as_json(block.data))
    for (number, line), (_, literal) in zip(block.lines(), rewritten.lines(), strict=True):
        try:
            require_once(_one_form(line, literal), [key])
            records.append(Record(number, line, _parse(line, literal)))
        except ValueError as error:
            faults.append(Fault(number, str(error), line))
    return records, faults


def read_columns(block: Block, schema: pa.Schema) -> Columns:
    """The fields that `schema` (of string and float64) names; missing ones are null, others are ignored.

    Arrow's parser takes a block whose lines are all as they should be. Any other is looked at again, line by line; a
    line that then has no usable form of the fields is among the faults.
    """
    arrays = _arrays_at_once(block, schema)
    if arrays is not None:
        return Columns(arrays, range(block.first_line, block.first_line + block.n_lines), block, [], 0)
    rows, numbers, faults, n_missing = _rows_one_by_one(block, schema)
    columns = zip(*rows, strict=True) if rows else ([],) * len(schema)
    arrays = {field.name: pa.array(values, field.type) for field, values in zip(schema, columns, strict=True)}
    return Columns(arrays, numbers, block, faults, n_missing)


_MAX_EXACT = 2**53  # Above it floating-point numbers leave integers out.
_LITERAL = (b"{'", b"{u")


def _arrays_at_once(block: Block, schema: pa.Schema) -> dict[str, pa.Array] | None:
    """The fields of every line; None if any line is not as it should be, such as one with a key that stands twice."""
    data = block.data
    if not _is_json(block):
        if b'\n{"' in data or data.startswith(b'{"'):
            return None  # Some lines may be JSON, which would take another meaning.
        data = as_json(data)
    # An empty line could make up for two objects on one: then the count of rows would prove nothing.
    raw = np.frombuffer(data, np.uint8)
    begun = np.count_nonzero((raw[:-1] == ord("\n")) & (raw[1:] == ord("{")))
    if data[:1] != b"{" or begun + 1 != block.n_lines:
        return None
    with suppress(pa.ArrowInvalid):
        _check_utf8(data)
        table = pajson.read_json(
            pa.BufferReader(data),
            pajson.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            # Arrow's own pool keeps what threads free, 200 MiB of it over two million lines.
            memory_pool=pa.system_memory_pool(),
        )
        if len(table) == block.n_lines:
            return {name: table[name].chunk(0) for name in schema.names}
    return None


@cache
def _quoted(name: str) -> bytes:
    return json.dumps(name).encode()


def _one_form(line: bytes, literal: bytes) -> bytes:
    """The line as JSON, also where it is a Python literal among lines of JSON."""
    return as_json(line) if line == literal and line.startswith(_LITERAL) else literal


def require_once(line: bytes, names: Iterable[str]) -> None:
    """Raise ValueError where one of the names is a key of an object twice: parsers take either. line: as JSON."""
    for name in names:
        if line.count(_quoted(name)) > 1:
            with suppress(RecursionError, json.JSONDecodeError):
                json.loads(line, object_pairs_hook=partial(_once, name))


def _once(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if sum(key == name for key, _ in pairs) > 1:
        raise ValueError(f"the key {name!r} stands there twice")
    return dict(pairs)


def _rows_one_by_one(block: Block, schema: pa.Schema) -> tuple[list[list[Any]], list[int], list[Fault], int]:
    """The rows that there are, the numbers of their lines, what is wrong with the others, and lines with NaN."""
    rows: list[list[Any]] = []
    numbers: list[int] = []
    faults: list[Fault] = []
    n_missing = 0
    lines = block.data.split(b"\n")
    literals = lines if _is_json(block) else as_json(block.data).split(b"\n")
    for number, (line, literal) in enumerate(zip(lines, literals, strict=True), start=block.first_line):
        if line and not line.isspace():
            try:
                row, has_nan = _row(line, literal, schema)
                rows.append(row)
                numbers.append(number)
                n_missing += has_nan
            except ValueError as error:
                faults.append(Fault(number, str(error), line.strip()))
    return rows, numbers, faults, n_missing


def _row(line: bytes, literal: bytes, schema: pa.Schema) -> tuple[list[Any], bool]:
    """The line's values, and whether a NaN among them stands for what is missing."""
    require_once(_one_form(line, literal), schema.names)
    found = _parse(line.strip(), literal)
    values = [found.get(field.name) for field in schema]
    return [_fit(*pair) for pair in zip(values, schema, strict=True)], any(value != value for value in values)


def _check_utf8(data: bytes) -> None:
    """Raise ArrowInvalid if it is not: the decoder does not look at fields that it skips."""
    if not data.isascii():
        bounds = pa.py_buffer(np.array([0, len(data)], np.int32))
        pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(data)]).validate(full=True)


def _is_json(block: Block) -> bool:
    """Whether the first line is JSON: then all are expected to be."""
    start = block.data.lstrip()
    try:
        orjson.loads(start[: start.find(b"\n") + 1] or start)
    except orjson.JSONDecodeError:
        return False
    return True


def _parse(line: bytes, literal: bytes) -> dict[str, Any]:
    """The line's object; `literal` is the line rewritten as JSON. Raises ValueError if it holds none."""
    # No JSON begins like that, and to be refused costs a parser more than to parse.
    for form in (literal,) if line.startswith(_LITERAL) else (line, literal):
        try:
            # The fast parser rounds integers beyond 64 bits.
            parsed = json.loads(form) if _LONG_NUMBER.search(form) else orjson.loads(form)
            break
        except (ValueError, RecursionError):
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
    """The value in the field's type; NaN stands for what is missing. Raises ValueError where it has no such form."""
    if value is None or value != value:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{field.name} is a {type(value).__name__}")
    if pa.types.is_string(field.type):
        return exact_text(value, field.name)
    return _number(value, field)


def exact_text(value: str | int | float, name: str) -> str:
    """The value as text. Raises ValueError on a number with a fraction, or one so big that it has lost digits."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{name} is a float")
    if isinstance(value, float) and abs(value) > _MAX_EXACT:
        raise ValueError(f"{name} is a number that has lost digits")
    return encodable(str(value))


def _number(value: str | int | float, field: pa.Field) -> float | None:
    if isinstance(value, str) and not value.strip():
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{field.name} is not a number") from None
