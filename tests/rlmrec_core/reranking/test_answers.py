"""Answers as models give them, and as nobody should."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.profiling.parser import RejectedAnswer
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.reranking import order_of


def order(text, places=20, max_words=5):
    return order_of(text, places=places, max_words=max_words)


def items(text):
    return order(text).items


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"items": [3, 1, 2], "reasoning": "Dark."}', (3, 1, 2)),
        ('```json\n{"items": [3, 1], "reasoning": "Dark.",}\n```', (3, 1)),
        ('<think>{"items": [9]}</think>Here: {"items": [3, 1], "reasoning": "x"} as asked', (3, 1)),
        ('{"items": ["3", " 1 ", "-2", "+4"], "reasoning": ""}', (3, 1, -2, 4)),
        ('{"items": [3.0, 1e2], "reasoning": ""}', (3, 100)),
        ('{"items": [3, 3, 3]}', (3, 3, 3)),
        ('{"items": [1], "reasoning": null, "title": "more"}', (1,)),
        # beyond all numbers that stand for an item
        (
            '{"items": [1, 99999999999999999999, -99999999999, "12345678901234567890123", Infinity]}',
            (1, *[PADDING] * 4),
        ),
        ("{'items': [3, 1, 2], 'reasoning': 'single quotes'}", (3, 1, 2)),
        ('{"items": [3, 1, 2', (3, 1, 2)),  # cut by a server that says it was not
    ],
)
def test_a_list_of_integers_is_taken_as_it_is(text, expected):
    assert items(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not one JSON object"),
        ("I would rather not.", "not one JSON object"),
        ("[3, 1, 2]", "not one JSON object"),
        ('{"reasoning": "x"}', "the key items is missing"),
        ('{"items": [], "reasoning": "x"}', "must be a list"),
        ('{"items": null}', "must be a list"),
        ('{"items": "3, 1, 2"}', "must be a list"),
        ('{"items": {"0": 3}}', "must be a list"),
        ('{"items": 3}', "must be a list"),
        ('{"items": [3, 1.5]}', "holds '1.5'"),
        ('{"items": [3, NaN]}', "holds 'nan'"),
        ('{"items": [3, true]}', "holds 'True'"),
        ('{"items": [3, null]}', "holds 'None'"),
        ('{"items": [3, "The Quiet River"]}', "holds 'The Quiet River'"),
        ('{"items": [3, "1/2"]}', "holds '1/2'"),
        ('{"items": [3, "\\u0663"]}', "holds"),  # a digit of another script
        ('{"items": [[3, 1, 2]]}', "holds list"),
        ('{"items": [{"index": 3}]}', "holds dict"),
        ('{"items": [1]} {"items": [2]}', "more than one JSON object"),
        ("{" * 5_000, "not one JSON object"),
        ('{"items": ' + "[" * 100_000, "not one JSON object"),
    ],
)
def test_anything_else_is_rejected_with_the_reason(text, complaint):
    with pytest.raises(RejectedAnswer, match=complaint):
        items(text)


@pytest.mark.parametrize("depth", range(100, 1_100, 50))
def test_nesting_of_every_depth_is_rejected(depth):
    with pytest.raises(RejectedAnswer):
        items('{"items": [' + "[" * depth + "]" * depth + "]}")
    assert items('{"items": [1], "more": ' + "[" * 50 + "]" * 50 + "}") == (1,)


def test_what_was_not_asked_for_is_cut():
    found = order(json.dumps({"items": [*range(30), "no index"], "reasoning": "one two three four five six"}))
    assert found.items == tuple(range(20)) and found.reasoning == "one two three four five"
    assert order('{"items": [1], "reasoning": ["a"]}').reasoning == ""
    half = order('{"items": [1], "reasoning": "a \\ud83d b"}').reasoning
    assert half.encode() and half.startswith("a")  # no half of a surrogate pair, which no file takes


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.text() | anything.map(json.dumps) | anything.map(lambda value: json.dumps({"items": value})))
def test_every_text_gives_small_integers_or_a_reason(text):
    try:
        found = items(text)
    except RejectedAnswer:
        return
    assert 1 <= len(found) <= 20 and all(type(item) is int and abs(item) < 2**31 for item in found)
