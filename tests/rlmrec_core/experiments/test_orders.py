"""Figure 1 as a table and as curves."""

import pyarrow as pa
import pytest

from rlmrec_core.experiments import latex, markdown, picture
from rlmrec_core.experiments.orders import ORDER_ROWS, rows_of, sheet
from rlmrec_core.tables import ORDER_SCORES


def scores(*numbers):
    rows = []
    for n in numbers:
        plain = {"n_candidates": n, "n_users": 40, "low": 0.1, "high": 0.4}
        for order, value, p in (("model", 0.2, None), ("repaired", 0.25, 0.01), ("strict", 0.15, 0.2)):
            measured = {"list": order, "value": value, "gain": None if p is None else value / 0.2 - 1, "p_wilcoxon": p}
            rows += [
                {**plain, **measured, "metric": metric, "k": k, "p_wilcoxon_holm": p}
                for metric in ("recall", "ndcg")
                for k in (10, 20)
            ]
        for name, value in (("invented", 0.05), ("unparseable", 0.5), ("without_list", 0.25)):
            rows.append({**plain, "list": "answers", "metric": name, "k": 20, "value": value})
    return pa.Table.from_pylist(rows, schema=ORDER_SCORES)


@pytest.fixture
def figure():
    return sheet(rows_of(scores(30, 50), "lightgcn base", "m-2026"))


def test_a_line_for_each_order(figure):
    lines = markdown(figure).splitlines()
    assert lines[0].startswith("| candidates | users | recall@10 | recall@20 | ndcg@10 | ndcg@20 | gain | p | invented")
    assert lines[2] == "| 30: the model's order | 40 | 0.2000 | 0.2000 | 0.2000 | 0.2000 |  |  |  |  |  |  |"
    assert lines[3] == "| 30: repaired | 40 | 0.2500* | 0.2500* | 0.2500* | 0.2500* | +25.0% | 0.01 |  |  |  |  |"
    assert lines[4] == "| 30: strict | 40 | 0.1500 | 0.1500 | 0.1500 | 0.1500 | -25.0% | 0.2 | 5.0% |  |  | 50.0% |"
    assert len([line for line in lines if line.startswith("| 50: ")]) == 3
    assert "m-2026 puts the best items of lightgcn base in order" in markdown(figure)
    assert "Up to 25.0% of the users had no list" in markdown(figure)
    assert r"30: strict & 40 & 0.1500 &" in latex(figure) and r"-25.0\%" in latex(figure)


def test_a_server_calls_its_model_what_it_likes():
    named = sheet(rows_of(scores(30), "lightgcn base", "<b>[x](https://evil.example) www.evil.example " + "long" * 50))
    told = markdown(named)
    assert not any(sign in told for sign in ("<b>", "](", "://", "www.")) and "long" * 20 not in told
    assert "gpt-4o-mini:free puts" in markdown(sheet(rows_of(scores(30), "lightgcn base", "gpt-4o-mini:free")))


def test_curves(figure):
    drawn = picture(figure, "svg")
    assert drawn == picture(figure, "svg") and picture(figure, "png").startswith(b"\x89PNG")
    assert all(name in drawn for name in (b"ndcg@20", b"repaired", b"strict", b">30<", b">50<"))
    assert drawn != picture(sheet(rows_of(scores(30), "lightgcn base", "m-2026")), "svg")


def test_nobody_answered():
    empty = rows_of(ORDER_SCORES.empty_table(), "lightgcn base", None)
    assert empty.schema.equals(ORDER_ROWS)
    assert "Nobody was answered." in markdown(sheet(empty)) and picture(sheet(empty), "svg").startswith(b"<?xml")
