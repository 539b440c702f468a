"""Python literals as JSON, against their twin `ast.literal_eval`."""

import ast
import json
import warnings
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.data.literals import as_json
from tests.rlmrec_core.data.releases import python_literal

TEXTS = st.text(st.sampled_from("ab'\"\\/{}[]:, \n\té€😀xuNTrueFalse0"), max_size=12) | st.text(max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
ROWS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=5), max_size=4)
UNKNOWN = object()


def from_json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return UNKNOWN


def from_python(line: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes that Python does not know
        try:
            return ast.literal_eval(line)
        except (ValueError, SyntaxError, TypeError):
            return UNKNOWN


@given(ROWS, st.sampled_from([repr, python_literal, ascii]))
def test_what_python_prints_is_read_alike_or_refused(rows: list[dict[str, Any]], notation: Any) -> None:
    printed = [notation(row) for row in rows]
    block = "\n".join(printed).encode("utf-8", "surrogatepass")
    for line, text in zip(as_json(block).split(b"\n"), printed, strict=False):
        assert from_json(line) in (from_python(text), UNKNOWN)


# Pieces that make quotes, escapes and prefixes meet in every way.
PIECES = [
    "'",
    '"',
    "\\",
    "u'",
    "b'",
    "r'",
    "x41",
    "u0041",
    "/",
    "a",
    "N",
    " ",
    "'a'",
    '"b"',
    ",",
    "[",
    "]",
    "None",
    "8",
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join), st.sampled_from(["{}", "['{}']", '["{}"]']))
@example("\\/", "['{}']")
@example('"', "['{}']")
@example("\\'", '["{}"]')
@example("\\\\' '\\\\", "['{}']")
def test_no_line_takes_another_meaning(inner: str, frame: str) -> None:
    line = frame.format(inner)
    ours, theirs = from_json(as_json(line.encode())), from_python(line)
    assert UNKNOWN in (ours, theirs) or ours == theirs


@pytest.mark.parametrize(
    ("literal", "json_line"),
    [
        ("{'a': u'b', u\"c\": None}", '{"a":  "b",  "c": null}'),
        ("{'a': 'True', 'b': True}", '{"a": "True", "b": true}'),
        ("{'a': \"it's\"}", '{"a": "it\'s"}'),
        (r"{'a': 'it\'s \x41'}", r'{"a": "it' + "'" + r's \u0041"}'),
        ("{'a': 'say \"b\"'}", r'{"a": "say \"b\""}'),
        (r"{'a': '\/'}", r'{"a": "\\/"}'),
        ('{"a": "it\'s", "b": null}', '{"a": "it\'s", "b": null}'),
        ("{'open: 1}", "{'open: 1}"),
        ("", ""),
    ],
)
def test_by_hand(literal: str, json_line: str) -> None:
    assert as_json(literal.encode()).decode() == json_line


def test_a_torn_line_leaves_its_neighbours_alone() -> None:
    assert as_json(b"{'a': 'b}\n{'c': 'd'}\n{\"e").split(b"\n")[1] == b'{"c": "d"}'


def test_most_of_what_python_prints_takes_the_quick_way() -> None:
    rows = [{"text": text, "n": n} for n, text in enumerate(["plain", "it's", 'a "b"', 'it\'s "b"', "é\t\n", "\\x"])]
    for notation in (repr, python_literal, ascii):
        block = "\n".join(map(notation, rows)).encode()
        assert [from_json(line) for line in as_json(block).split(b"\n")] == rows
