import pyarrow as pa
import pytest

from rlmrec_core.model_id import ModelId
from rlmrec_core.tables import METRICS
from tasks.metrics import best_model, comparison, mean_over_seeds

ROWS = [
    ("lightgcn", "base", 1, "validation", "recall", 20, 0.1),
    ("lightgcn", "base", 2, "validation", "recall", 20, 0.3),
    ("lightgcn", "con", 1, "validation", "recall", 20, 0.25),
    ("lightgcn", "con", 1, "validation", "recall", 5, 0.9),
    ("lightgcn", "con", 1, "test", "recall", 20, 0.5),
    ("popularity", "popularity", 0, "validation", "recall", 20, 0.99),
    ("semantic", "semantic", 0, "validation", "recall", 20, 0.98),
]


def table(rows=ROWS):
    rows = [("p", *row[:3], "d1" if row[2] else "", f"{row[0]} {row[1]}", *row[3:]) for row in rows]
    return pa.Table.from_pylist([dict(zip(METRICS.names, row, strict=False)) for row in rows], schema=METRICS)


def test_seeds_are_averaged():
    base = mean_over_seeds(table())[0]
    assert base == {
        "prepare": "p", "backbone": "lightgcn", "variant": "base", "settings": "d1", "label": "lightgcn base",
        "part": "validation", "metric": "recall", "k": 20,
        "value": pytest.approx(0.2), "low": None, "high": None,
    }  # fmt: skip


def test_one_row_for_each_model_and_one_column_for_each_metric():
    rows = comparison(mean_over_seeds(table()), "validation")
    assert [row["model"].split()[-1] for row in rows] == ["base", "con", "popularity", "semantic"]
    assert rows[1] == {"model": "lightgcn con", "recall@20": 0.25, "recall@5": 0.9}


def test_the_best_model_is_chosen_on_validation_at_20_and_is_no_baseline():
    assert best_model(table(), "best") == ModelId("lightgcn", "base", 2, "d1")
    assert best_model(table(), "con") == ModelId("lightgcn", "con", 1, "d1")


def test_a_variant_that_was_not_measured_is_an_error_that_names_the_others():
    with pytest.raises(LookupError, match=r"'gen' was measured.*base, con"):
        best_model(table(), "gen")
