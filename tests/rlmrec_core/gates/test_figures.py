"""Figures from tables, by hand."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.gates import of_data, of_lists, of_model, of_profiles, of_raw_data
from rlmrec_core.gates.figures import failures
from rlmrec_core.model_id import ModelId
from rlmrec_core.tables import METRICS, PROFILES, RECOMMENDATIONS


def by_name(figures):
    return {figure.what: figure.value for figure in figures}


def test_raw_data():
    found = by_name(of_raw_data({"interactions": 90, "items": 5, "malformed lines in a": 3, "malformed lines in b": 2}))
    assert found == {"interactions read": 90, "malformed lines": 0.05}


def test_data():
    statistics = {"users": 7, "items": 4, "interactions": 10, "last time": 86_400.0 * 5}
    statistics |= {"items with title": 4, "items with description": 2, "items with attributes": 0}
    found = by_name(of_data(statistics | {"interactions with review": 5}, now=86_400.0 * 7.5))
    assert found == {
        "users": 7, "items": 4, "items with title": 1, "items with description": 0.5, "items with attributes": 0,
        "interactions with review": 0.5, "age of the newest interaction": 2.5,
    }  # fmt: skip


def test_profiles_that_failed_and_those_that_stand_in():
    rows = [("ok", None), ("failed", "too busy"), ("ok", "not written by the model: too busy"), ("missing", "no text")]
    filled = [{"id": n, "generator": "llm", "status": status, "error": error} for n, (status, error) in enumerate(rows)]
    table = pa.Table.from_pylist(filled, schema=PROFILES)
    assert failures(table) == ["too busy", "not written by the model: too busy"]
    assert by_name(of_profiles("item", table)) == {"failed item profiles": 0.5}


def test_the_model_is_measured_on_test_at_20():
    con = ModelId("lightgcn", "con", 1, "d")
    row = {"prepare": "p", **con._asdict(), "label": "x", "low": 0.1, "high": 0.3, "gain": 0.05}
    row |= {"gain_low": 0.01, "gain_high": 0.09}
    rows = [
        row | {"part": part, "metric": metric, "k": k, "value": 0.2}
        for part in ("validation", "test")
        for metric in ("recall", "coverage", "novelty")
        for k in (5, 20)
    ]
    other = row | {"seed": 2, "part": "test", "metric": "recall", "k": 20, "value": 0.9}
    figures = of_model(con, pa.Table.from_pylist([*rows, other], schema=METRICS))
    assert [figure.what for figure in figures] == [
        "recall@20 on test", "recall@20 on test over popularity", "coverage@20 on test",
    ]  # fmt: skip
    assert (figures[0].value, figures[0].low, figures[0].high) == (0.2, 0.1, 0.3)
    assert (figures[1].value, figures[1].low, figures[1].high) == (0.05, 0.01, 0.09)
    assert of_model(con, METRICS.empty_table()) == []


def lists(*given: list[str]) -> pa.Table:
    rows = [
        {"user_id": f"u{user}", "rank": rank, "item_id": item, "score": 1.0}
        for user, items in enumerate(given)
        for rank, item in enumerate(items, 1)
    ]
    return pa.Table.from_pylist(rows, schema=RECOMMENDATIONS)


def test_lists_that_are_missing_or_the_same():
    found = by_name(of_lists(lists(["a", "b"], ["b", "a"], ["a", "b"], ["a"]), n_users=5))
    assert found == {"users without list": pytest.approx(0.2), "users with the most frequent list": 0.5}
    assert by_name(of_lists(lists(), n_users=2))["users without list"] == 1


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=2, max_size=12))
def test_lists_are_counted_as_by_comparing_them(given_lists):
    same = by_name(of_lists(lists(*given_lists), len(given_lists)))["users with the most frequent list"]
    texts = ["".join(one) for one in given_lists]
    assert same == pytest.approx(max(map(texts.count, texts)) / len(texts))
    pieces = pa.concat_tables([lists(*given_lists).slice(row, 2) for row in range(0, sum(map(len, given_lists)), 2)])
    assert by_name(of_lists(pieces, len(given_lists)))["users with the most frequent list"] == same
