"""Recipes as settings of ordinary runs, and their tables."""

from typing import get_args

import pyarrow as pa
import pytest

from rlmrec_core import ranking
from rlmrec_core.config import load_config
from rlmrec_core.experiments import RECIPES, RecipeName, applied, arms, latex, markdown, n_models, picture
from rlmrec_core.experiments.accuracy import EXPERIMENT, Measured, Start, rows_of, sheet
from rlmrec_core.experiments.sheet import Bar, Sheet, _curves
from rlmrec_core.model_id import ModelId
from rlmrec_core.tables import METRICS, SIGNIFICANCE, user_metrics_schema


def models(recipe, n_seeds=1, **train):
    runs = applied(recipe, load_config(dataset="splits", overrides={"train": train}), n_seeds).train.runs()
    return [(run.backbone, run.variant, run.seed, run.noise) for run in runs]


def test_every_recipe_names_its_models():
    assert set(RECIPES) == set(get_args(RecipeName))
    assert len(models("table1", 5)) == 6 * 3 * 5
    assert {seed for _, _, seed, _ in models("table1", 5)} == set(range(2023, 2028))
    assert [variant for _, variant, _, _ in models("table2")] == ["base", "kar", "con", "gen"] * 2
    assert [noise for _, variant, _, noise in models("figure5") if variant == "con"] == [0, 0.05, 0.1, 0.15, 0.2, 0.25]


def of_arms(recipe, n_seeds=1, dataset="splits", **sections):
    return arms(recipe, applied(recipe, load_config(dataset=dataset, overrides=sections), n_seeds))


def test_encoders_are_arms_and_the_first_has_the_shuffled_controls():
    found = of_arms("figure4")
    assert [(arm.name, config.embed.encoder) for arm, config in found] == [("minilm", "minilm"), ("tfidf", "tfidf")]
    runs = [(run.backbone, run.variant, getattr(run.alignment, "shuffle", None)) for run in found[0][1].train.runs()]
    assert len(runs) == len(set(runs)) == 4 * 5
    assert {("dccf", "base", None), ("dccf", "con", True), ("dccf", "gen", False)} <= set(runs)
    assert not any(getattr(run.alignment, "shuffle", False) for run in found[1][1].train.runs())
    named = of_arms("figure4", embed={"encoder": "sentence-transformers", "model": "some/encoder"})
    assert [(arm.name, config.embed.model) for arm, config in named] == [
        ("some/encoder", "some/encoder"), ("minilm", None), ("tfidf", None),
    ]  # fmt: skip
    assert [arm.name for arm, _ in of_arms("figure4", dataset="rlmrec-release")] == ["imported", "minilm", "tfidf"]


def test_the_periods_of_pre_training_are_halves_or_lie_around_a_day():
    (first, earlier), (second, later) = of_arms("table3", dataset="movielens")
    assert (earlier.prepare.half, later.prepare.half) == ("first", "second")
    assert (first.is_measured, second.is_measured, second.starts_from) == (False, True, first.name)
    assert [run.variant for run in earlier.train.runs()] == ["base", "con", "gen"]
    assert [run.variant for run in later.train.runs()] == ["base"]
    (_, earlier), (_, later) = of_arms("table3", dataset="movielens", prepare={"since": "2018-01-01"})
    assert (earlier.prepare.since, str(earlier.prepare.before)) == (None, "2018-01-01")
    assert (str(later.prepare.since), later.prepare.before, later.prepare.half) == ("2018-01-01", None, None)


def test_how_many_models_a_recipe_takes():
    def count(recipe, n_seeds=2):
        return n_models(recipe, applied(recipe, load_config(dataset="splits"), n_seeds))

    assert (count("table1"), count("table2"), count("figure5"), count("figure6")) == (36, 16, 36, 4)
    assert count("table4") == 18  # one seed tells the speed
    assert count("table3") == 2 * (3 + 1 + 3)
    assert count("figure4") == 2 * 4 * (1 + 4 + 2)


def test_what_somebody_set_stays():
    assert {backbone for backbone, *_ in models("table1", backbones=["sgl"])} == {"sgl"}
    assert models("table2", 5, backbones=["sgl"], variants=["kar"], seeds=[7]) == [("sgl", "kar", 7, 0)]
    without_text = applied("table1", load_config(dataset="amazon-book"), 2).train.runs()
    assert {run.variant for run in without_text} == {"base"} and len(without_text) == 12


def significance(*rows):
    plain = {
        "settings": "d",
        "base": "d",
        "base_label": "sgl base",
        "k": 20,
        "n_seeds": 5,
        "std": 0.001,
        "gain": 0.05,
        "p": 0.01,
    }
    named = [{**plain, "p_holm": 0.02, "p_wilcoxon": None, "p_wilcoxon_holm": 1e-9, **row} for row in rows]
    return pa.Table.from_pylist(named, schema=SIGNIFICANCE)


def metrics(*rows):
    plain = {"prepare": "p", "part": "test", "metric": "recall", "k": 20, "settings": "", "seed": 1}
    return pa.Table.from_pylist([{**plain, **row} for row in rows], schema=METRICS)


def measured(significance, **others):
    named = significance.select(["backbone", "variant", "settings", "label"]).to_pylist()
    values = metrics(*({**row, "value": 0.1} for row in named))
    return Measured(
        **{"arm": "", "metrics": values, "by_user": None, "part": "test", **others}, significance=significance
    )


def rows_from(significance, n_users, n_items):
    return rows_of([measured(significance)], n_users, n_items)


@pytest.fixture
def table():
    base, kar = ({"backbone": "sgl", "variant": name, "label": f"sgl {name}"} for name in ("base", "kar"))
    base |= {"gain": 0.0, "p_holm": None}
    knn = {
        "backbone": "item_knn",
        "variant": "item_knn",
        "label": "item_knn",
        "std": None,
        "gain": None,
        "settings": "",
        "base": None,
    }
    return significance(
        {**base, "metric": "recall", "mean": 0.14},
        {**base, "metric": "ndcg", "mean": 0.09},
        {**kar, "settings": "k", "metric": "recall", "mean": 0.15},
        {**kar, "label": "sgl kar noise=0.1", "settings": "e", "metric": "recall", "mean": 0.12},
        {**knn, "metric": "recall", "mean": 0.1},
    )


def test_the_papers_figures_stand_beside_its_own_data_alone(table):
    rows = rows_from(table, 11_091, 11_010)
    assert rows.schema.equals(EXPERIMENT)
    assert rows["paper"].to_pylist() == [0.1197, 0.0753, 0.1208, None, None]
    assert rows_from(table, 23_310, 5_237)["paper"].to_pylist() == [0.1444, None, None, None, None]
    assert rows_from(table, 100, 100)["paper"].null_count == 5


def test_tables_for_people_and_for_papers(table):
    shown = markdown(sheet(rows_from(table, 11_091, 11_010))).splitlines()
    assert shown[0].count("|") == shown[2].count("|") == 9
    assert shown[2].startswith("| sgl base | 0.1400 ± 0.0010 | 0.0900 ± 0.0010 | 0.1197 | 0.0753 | +0.0% |  | 1e-09 |")
    assert "| sgl kar | 0.1500 ± 0.0010* |  | 0.1208 |  | +5.0% | 0.02 |" in shown[3]
    assert "| item_knn | 0.1000* |" in shown[5]
    assert "Better than Base on Recall@20 (t over 5 seeds, Holm): sgl kar +5.0%, sgl kar noise=0.1 +5.0%." in shown
    other = markdown(sheet(rows_from(table, 1, 1))).splitlines()
    assert "paper" not in other[0]
    written = latex(sheet(rows_from(table, 1, 1)))
    assert written.startswith(r"\begin{tabular}{lrrrrr}") and r"item\_knn & 0.1000" in written
    assert written.count(r" \\") == 5 and r"+5.0\%" in written and r"0.1500 $\pm$ 0.0010$^{*}$" in written


def test_the_same_rows_are_the_same_picture(table):
    shown = sheet(rows_from(table, 11_091, 11_010))
    drawn = picture(shown, "svg")
    assert drawn == picture(shown, "svg") and picture(shown, "png") == picture(shown, "png")
    assert b"sgl kar noise=0.1" in drawn and b"recall@20 on test" in drawn and b"in the paper" in drawn
    assert drawn != picture(sheet(rows_from(table, 1, 1)), "svg")


def along_noise(*values, suffix=""):
    return [
        Bar(f"{name} noise={value}{suffix}", 0.3 - value, 0.01, is_reference=name == "$x$ base")
        for value in values
        for name in ("$x$ base", "$x$ con shuffle=True")
    ]


def test_models_along_a_number_are_lines():
    axis, flat = "recall@20", Bar("popularity", 0.1, is_reference=True)
    bars = along_noise(0.1, 0.0, 5e-05)
    assert list(_curves([*bars, flat]).lines) == ["$x$ base", "$x$ con shuffle=True"]
    assert [value for value, _ in _curves(bars).lines["$x$ base"]] == [0, 5e-05, 0.1]
    drawn = picture(Sheet([], [], axis, [*bars, flat]), "svg").decode()
    assert ">noise<" in drawn and ">$x$ con shuffle=True<" in drawn and "popularity" not in drawn
    assert drawn == picture(Sheet([], [], axis, bars), "svg").decode()
    for others in (along_noise(0.1, 0.2), [*bars, Bar("y n_layers=2", 0.1)], along_noise(1, 2, 3, suffix=" k=1")):
        assert _curves(others) is None and b">noise<" not in picture(Sheet([], [], axis, others), "svg")


def test_nothing_measured_is_an_empty_table():
    empty = sheet(rows_from(SIGNIFICANCE.empty_table(), 1, 1))
    assert picture(empty, "svg").startswith(b"<?xml")
    assert not empty.lines and markdown(empty).startswith("| model |") and "tabular" in latex(empty)


def evaluated(arm, models, own=(), starts=None):
    """What evaluate measured of models: by backbone, variant, settings and label the values of three users by seed."""
    names = ("backbone", "variant", "settings", "label")
    runs = [
        (dict(zip(names, model, strict=True)) | {"seed": seed, "part": "test"}, users)
        for model, seeds in models.items()
        for seed, users in seeds.items()
    ]
    values = [{**row, "value": sum(users) / 3} for row, users in runs]
    of_users = [
        {**row, "user": user, "n_train": 1, "n_held_out": 1, "recall@20": value}
        for row, users in runs
        for user, value in enumerate(users)
    ]
    by_user = pa.Table.from_pylist(of_users, schema=user_metrics_schema(["recall@20"]))
    bases = {
        model[:3]: next((ModelId(*other[:2], 0, other[2]) for other in models if other[1] == "base"), None)
        for model in models
    }
    tested = ranking.significance(metrics(*values), bases=bases, by_user=by_user)
    return Measured(arm, metrics(*values), by_user, tested, "test", own, starts or {})


BASE = ("sgl", "base", "b", "sgl base")
BASE_USERS = {1: (0.1, 0.2, 0.3), 2: (0.1, 0.2, 0.2)}
SEMANTIC = ("semantic", "semantic", "", "semantic")


def test_arms_are_compared_with_the_base_that_they_share_and_tested_together():
    con = ("sgl", "con", "c", "sgl con")
    first = {BASE: BASE_USERS, con: {1: (0.2, 0.2, 0.3), 2: (0.2, 0.3, 0.2)}, SEMANTIC: {1: (0.1, 0.1, 0.1)}}
    second = {BASE: BASE_USERS, con: {1: (0.1, 0.3, 0.3), 2: (0.1, 0.2, 0.4)}, SEMANTIC: {1: (0.2, 0.1, 0.1)}}
    rows = rows_of([evaluated("one", first, {"c"}), evaluated("two", second, {"c"})], 1, 1)
    found = {row["label"]: row for row in rows.to_pylist()}
    assert list(found) == ["sgl base", "one: sgl con", "two: sgl con", "one: semantic", "two: semantic"]
    assert [row["arm"] for row in found.values()] == ["one", "one", "two", "one", "two"]
    assert found["one: sgl con"]["gain"] == pytest.approx(1.4 / 1.1 - 1)
    assert found["two: sgl con"]["gain"] == pytest.approx(1.4 / 1.1 - 1)
    assert found["two: sgl con"]["base_label"] == "sgl base" and found["sgl base"]["n_seeds"] == 2
    alone = rows_of([evaluated("one", first, {"c"})], 1, 1).to_pylist()[1]
    assert alone["p_holm"] == alone["p"] == found["one: sgl con"]["p"]
    assert found["one: sgl con"]["p_holm"] == pytest.approx(min(1, 2 * alone["p"]))


def test_models_that_others_started_are_seeds_of_one_model():
    fresh = ("lightgcn", "base", "d", "lightgcn base start_from=None")
    started = [("lightgcn", "base", f"d{seed}", f"lightgcn base start_from=k{seed} tau=1") for seed in (1, 2)]
    models = {fresh: BASE_USERS, started[0]: {1: (0.2, 0.2, 0.3)}, started[1]: {2: (0.2, 0.2, 0.3)}}
    starts = {settings: Start("d", "lightgcn con", "e", "con") for _, _, settings, _ in started}
    rows = rows_of([evaluated("later", models, (), starts)], 1, 1)
    plain, con = rows.to_pylist()
    assert (plain["label"], plain["started_from"], plain["paper"]) == ("lightgcn base", None, 0.0820)
    assert (con["label"], con["started_from"]) == ("lightgcn base tau=1 from lightgcn con", "lightgcn con")
    assert (con["n_seeds"], con["base"], con["paper"]) == (2, "d", 0.1034)
    assert con["gain"] == pytest.approx(1.4 / 1.1 - 1)
    assert any("Yelp" in note for note in sheet(rows).notes)


def test_signs_that_mean_something_elsewhere_are_texts():
    label = r"C:\models\a_b|$\frac{$ #1 ~^{x}"
    shown = Sheet(["model", "recall@20"], [[label, "0.5000"]], "recall", [Bar(label, 0.5)])
    head, _, row = markdown(shown).splitlines()
    assert row == rf"| {label.replace('|', chr(92) + '|')} | 0.5000 |" and head == "| model | recall@20 |"
    written = (
        r"C:\textbackslash{}models\textbackslash{}a\_b|\$\textbackslash{}frac\{\$ \#1 "
        r"\textasciitilde{}\textasciicircum{}\{x\}"
    )
    assert latex(shown).splitlines()[4] == written + r" & 0.5000 \\"
    drawn = picture(shown, "svg").decode()
    assert r"a_b|$\frac{$ #1" in drawn
    assert markdown(Sheet(["model"], [["two\nlines"]], "", [])).splitlines()[2] == "| two lines |"
