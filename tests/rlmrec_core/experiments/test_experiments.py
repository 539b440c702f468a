"""Recipes as settings of ordinary runs, and their tables."""

from typing import get_args

import pyarrow as pa
import pytest

from rlmrec_core.config import load_config
from rlmrec_core.experiments import EXPERIMENT, RECIPES, RecipeName, applied, latex, markdown, picture, rows_of
from rlmrec_core.tables import SIGNIFICANCE


def models(recipe, n_seeds=1, **train):
    runs = applied(recipe, load_config(dataset="splits", overrides={"train": train}), n_seeds).train.runs()
    return [(run.backbone, run.variant, run.seed, run.noise) for run in runs]


def test_every_recipe_names_its_models():
    assert set(RECIPES) == set(get_args(RecipeName))
    assert len(models("table1", 5)) == 6 * 3 * 5
    assert {seed for _, _, seed, _ in models("table1", 5)} == set(range(2023, 2028))
    assert [variant for _, variant, _, _ in models("table2")] == ["base", "kar", "con", "gen"] * 2
    assert [noise for _, variant, _, noise in models("figure5") if variant == "con"] == [0, 0.05, 0.1, 0.15, 0.2, 0.25]


def test_the_shuffled_controls_stand_beside_the_others_once_each():
    config = applied("shuffled", load_config(dataset="splits"), 1)
    found = [(run.backbone, run.variant, getattr(run.alignment, "shuffle", None)) for run in config.train.runs()]
    assert len(found) == len(set(found)) == 4 * 5
    assert {("dccf", "base", None), ("dccf", "con", True), ("dccf", "gen", False)} <= set(found)


def test_what_somebody_set_stays():
    assert {backbone for backbone, *_ in models("table1", backbones=["sgl"])} == {"sgl"}
    assert models("table2", 5, backbones=["sgl"], variants=["kar"], seeds=[7]) == [("sgl", "kar", 7, 0)]
    without_text = applied("table1", load_config(dataset="amazon-book"), 2).train.runs()
    assert {run.variant for run in without_text} == {"base"} and len(without_text) == 12


def significance(*rows):
    plain = {"settings": "d", "base": "b", "k": 20, "n_seeds": 5, "std": 0.001, "gain": 0.05, "p": 0.01}
    named = [{**plain, "p_holm": 0.02, "p_wilcoxon": None, "p_wilcoxon_holm": 1e-9, **row} for row in rows]
    return pa.Table.from_pylist(named, schema=SIGNIFICANCE)


@pytest.fixture
def table():
    base, kar = ({"backbone": "sgl", "variant": name, "label": f"sgl {name}"} for name in ("base", "kar"))
    base |= {"gain": 0.0, "p_holm": None}
    knn = {"backbone": "item_knn", "variant": "item_knn", "label": "item_knn", "std": None, "gain": None}
    return significance(
        {**base, "metric": "recall", "mean": 0.14},
        {**base, "metric": "ndcg", "mean": 0.09},
        {**kar, "metric": "recall", "mean": 0.15},
        {**kar, "label": "sgl kar noise=0.1", "settings": "e", "metric": "recall", "mean": 0.12},
        {**knn, "metric": "recall", "mean": 0.1},
    )


def test_the_papers_figures_stand_beside_its_own_data_alone(table):
    rows = rows_of(table, 11_091, 11_010)
    assert rows.schema.equals(EXPERIMENT)
    assert rows["paper"].to_pylist() == [0.1197, None, 0.1208, None, None]
    assert rows_of(table, 23_310, 5_237)["paper"].to_pylist() == [0.1444, None, None, None, None]
    assert rows_of(table, 100, 100)["paper"].null_count == 5


def test_tables_for_people_and_for_papers(table):
    shown = markdown(rows_of(table, 11_091, 11_010)).splitlines()
    assert shown[0].count("|") == shown[2].count("|") == 8
    assert shown[2].startswith("| sgl base | 0.1400 ± 0.0010 | 0.0900 ± 0.0010 | +0.0% |  | 1e-09 | 0.1197 |")
    assert "| sgl kar | 0.1500 ± 0.0010* |  | +5.0% | 0.02 |" in shown[3]
    assert "| item_knn | 0.1000* |" in shown[5]
    other = markdown(rows_of(table, 1, 1)).splitlines()
    assert "paper" not in other[0]
    written = latex(rows_of(table, 1, 1))
    assert written.startswith(r"\begin{tabular}{lrrrrr}") and r"item\_knn & 0.1000" in written
    assert written.count(r" \\") == 5 and r"+5.0\%" in written and r"0.1500 $\pm$ 0.0010$^{*}$" in written


def test_the_same_rows_are_the_same_picture(table):
    rows = rows_of(table, 1, 1)
    drawn = picture(rows, "svg")
    assert drawn == picture(rows, "svg") and picture(rows, "png") == picture(rows, "png")
    assert b"sgl kar noise=0.1" in drawn and b"recall@20 on test" in drawn
    assert drawn != picture(rows.slice(0, 3), "svg")


def test_nothing_measured_is_an_empty_table():
    rows = rows_of(SIGNIFICANCE.empty_table(), 1, 1)
    assert picture(rows, "svg").startswith(b"<?xml")
    assert len(rows) == 0 and markdown(rows).startswith("| model |") and "tabular" in latex(rows)
