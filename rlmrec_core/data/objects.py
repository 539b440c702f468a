"""Lines that each hold one object, as JSON or as a Python literal, turned into columns or dictionaries.

A quick decoder takes what is as it should be. What it does not take is read by slower ones, line by line, so that what
is wrong is told of each line and its neighbours are read as ever.
"""

import ast
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from operator import attrgetter
from typing import Any, cast

import msgspec
import numpy as np
import orjson
import pyarrow as pa

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

    Lines are decoded one by one and only as far as the fields go. What the quick decoder refuses is looked at again,
    more patiently; a line that then has no usable form of the fields is among the faults.
    """
    rows = _rows_at_once(block, schema)
    numbers: Sequence[int] = range(block.first_line, block.first_line + block.n_lines)
    faults: list[Fault] = []
    n_missing = 0
    if rows is None:
        rows, numbers, faults, n_missing = _rows_one_by_one(block, schema)
    arrays = {field.name: _as_array(rows, place, field) for place, field in enumerate(schema)}
    return Columns(arrays, numbers, block, faults, n_missing)


_MAX_EXACT = 2**53  # Above it floating-point numbers leave integers out.
_LITERAL = (b"{'", b"{u")
_REFUSED = (msgspec.MsgspecError, UnicodeError, RecursionError, pa.ArrowInvalid)


@cache
def _decoder(schema: pa.Schema) -> tuple[type[msgspec.Struct], msgspec.json.Decoder[Any]]:
    """The type of a row with the fields, which bear the schema's names in JSON, and what decodes it."""
    fields = [
        (f"field_{place}", str | int | None if pa.types.is_string(field.type) else float | None, None)
        for place, field in enumerate(schema)
    ]
    names = {f"field_{place}": name for place, name in enumerate(schema.names)}
    # Rows hold no references that could go round in a circle.
    row_type = msgspec.defstruct("Row", fields, rename=names, gc=False)
    return row_type, msgspec.json.Decoder(row_type)


def _rows_at_once(block: Block, schema: pa.Schema) -> list[Any] | None:
    """A row for each line, None if any is not as it should be."""
    data = block.data
    if not _is_json(block):
        if b'\n{"' in data or data.startswith(b'{"'):
            return None  # Some lines may be JSON, which would take another meaning.
        data = as_json(data)
    raw = np.frombuffer(data, np.uint8)
    begins = np.append(0, np.flatnonzero(raw == ord("\n")) + 1)
    # An empty line could make up for two objects on one: then the count of rows would prove nothing.
    if (raw[begins[begins < len(raw)]] != ord("{")).any():
        return None
    with suppress(*_REFUSED):
        _check_utf8(data)
        rows: list[Any] = _decoder(schema)[1].decode_lines(data)
        # The two ids come first; a key that stands there twice is looked for where there are more keys than values.
        ids = range(min(2, len(schema)))
        once = all(data.count(_quoted(schema.names[place])) <= _n_given(rows, place) for place in ids)
        return rows if once and len(rows) == block.n_lines else None
    return None


def _n_given(rows: list[Any], place: int) -> int:
    return len(rows) - list(map(attrgetter(f"field_{place}"), rows)).count(None)


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


def _rows_one_by_one(block: Block, schema: pa.Schema) -> tuple[list[Any], list[int], list[Fault], int]:
    """The rows that there are, the numbers of their lines, what is wrong with the others, and lines with NaN."""
    rows: list[Any] = []
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


def _row(line: bytes, literal: bytes, schema: pa.Schema) -> tuple[msgspec.Struct, bool]:
    """The line's row, and whether a NaN in it stands for what is missing."""
    row_type, decoder = _decoder(schema)
    require_once(_one_form(line, literal), schema.names)
    with suppress(*_REFUSED):
        _check_utf8(line)
        return cast(msgspec.Struct, decoder.decode(literal if line.startswith(_LITERAL) else line)), False
    found = _parse(line.strip(), literal)
    values = [found.get(field.name) for field in schema]
    row = row_type(*(_fit(value, field) for value, field in zip(values, schema, strict=True)))
    return row, any(value != value for value in values)


def _check_utf8(data: bytes) -> None:
    """Raise ArrowInvalid if it is not: the decoder does not look at fields that it skips."""
    if not data.isascii():
        bounds = pa.py_buffer(np.array([0, len(data)], np.int32))
        pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(data)]).validate(full=True)


def _as_array(rows: list[Any], place: int, field: pa.Field) -> pa.Array:
    values = list(map(attrgetter(f"field_{place}"), rows))
    try:
        return pa.array(values, field.type)
    except pa.ArrowTypeError:  # Some are integers.
        return pa.array([value if value is None else str(value) for value in values], field.type)


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
