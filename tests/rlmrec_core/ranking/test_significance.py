import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.significance import bootstrap, holm, significance
from rlmrec_core.tables import METRICS, SIGNIFICANCE, user_metrics_schema


def metrics(runs, metric="recall", part="test"):
    """runs: (backbone, variant) to the values of seeds 1, 2, ..."""
    rows = [
        ("p", backbone, variant, seed, *(settings or ["d"]), f"{backbone} {variant}", part, metric, 20, value)
        for (backbone, variant, *settings), values in runs.items()
        for seed, value in enumerate(values, start=1)
    ]
    return pa.Table.from_pylist([dict(zip(METRICS.names, row, strict=False)) for row in rows], schema=METRICS)


def test_by_hand():
    base, con = [0.10, 0.12, 0.11, 0.13, 0.14], [0.12, 0.13, 0.14, 0.14, 0.17]
    table = significance(metrics({("sgl", "base"): base, ("sgl", "con"): con}))
    assert table.schema.equals(SIGNIFICANCE)
    first, second = table.to_pylist()
    # Differences .02 .01 .03 .01 .03: mean .02, standard deviation .01, t = .02 / (.01 / sqrt 5) = 4.4721 with 4
    # degrees of freedom, p = 0.0111 (two-sided).
    assert second["p"] == pytest.approx(0.0110, abs=2e-4)
    assert second["p_holm"] == second["p"]
    assert second["mean"] == pytest.approx(0.14)
    assert second["gain"] == pytest.approx(0.14 / 0.12 - 1)
    # .02 -+ 2.776 times .01 / sqrt 5, over Base's .12.
    assert (second["gain_low"], second["gain_high"]) == pytest.approx((0.0632, 0.2701), abs=1e-4)
    assert (second["n_seeds"], second["base_label"], second["p_bootstrap"]) == (5, "sgl base", None)
    assert first["std"] == pytest.approx((0.001 / 4) ** 0.5)
    assert first["p"] is first["p_holm"] is None
    assert first["gain"] == 0


def test_holm_by_hand():
    names = [(str(i), "con", "d", "", "recall", 20) for i in range(4)]
    corrected = holm(dict(zip(names, [0.04, 0.01, 0.03, 0.005], strict=True)))
    assert [corrected[name] for name in names] == pytest.approx([0.06, 0.03, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_nor_reorders(values):
    names = [(str(place), "con", "d", "", "recall", 20) for place in range(len(values))]
    corrected = holm(dict(zip(names, values, strict=True)))
    pairs = sorted((p, corrected[name]) for name, p in zip(names, values, strict=True))
    assert all(p <= after <= 1 for p, after in pairs)
    assert [after for _, after in pairs] == sorted(after for _, after in pairs)
    assert pairs[0][1] == pytest.approx(min(1, pairs[0][0] * len(values)))


def test_the_family_is_what_is_compared_at_one_metric():
    runs = {("gccf", "base"): [0.1, 0.2, 0.3], ("gccf", "con"): [0.2, 0.25, 0.4], ("gccf", "gen"): [0.1, 0.21, 0.3]}
    recall = significance(metrics(runs))
    both = significance(pa.concat_tables([metrics(runs), metrics(runs, "ndcg")]))
    assert recall["p_holm"].to_pylist() == both["p_holm"].to_pylist()[:3]
    con, gen = recall["p"].to_pylist()[1:]
    assert recall["p_holm"].to_pylist()[1:] == pytest.approx([min(1, 2 * con), max(gen, 2 * con)])


def test_without_seeds_or_base_there_is_nothing_to_test():
    runs = {("sgl", "base"): [0.1], ("sgl", "con"): [0.2], ("popularity", "popularity"): [0.05, 0.06]}
    alone, con, popularity = significance(metrics(runs)).to_pylist()
    assert alone["std"] is None
    assert con["p"] is None
    assert con["gain"] == pytest.approx(1)
    assert popularity["gain"] is popularity["p"] is None
    assert popularity["std"] is not None


def test_the_same_difference_at_every_seed_is_no_test():
    same = significance(metrics({("sgl", "base"): [0.25, 0.5], ("sgl", "con"): [0.5, 0.75]})).to_pylist()[1]
    assert same["p"] is None


def test_other_parts_and_measures_are_left_out():
    runs = {("sgl", "base"): [0.1, 0.2]}
    others = pa.concat_tables([metrics(runs, "coverage"), metrics(runs, part="validation")])
    assert len(significance(others)) == 0


def test_each_variant_is_compared_with_the_base_it_is_told():
    runs = {("sgl", "base", "b1"): [0.1, 0.1], ("sgl", "base", "b2"): [0.2, 0.3], ("sgl", "con", "c"): [0.4, 0.5]}
    first, second = (ModelId("sgl", "base", 1, digest) for digest in ("b1", "b2"))
    bases = {("sgl", "con", "c"): second, ("sgl", "base", "b1"): first, ("sgl", "base", "b2"): second}
    *own, con = significance(metrics(runs), bases=bases).to_pylist()
    assert [(row["base"], row["gain"]) for row in own] == [("b1", 0), ("b2", 0)]
    assert (con["base"], con["gain"]) == ("b2", pytest.approx(0.9 / 0.5 - 1))
    assert significance(metrics(runs)).to_pylist()[2]["base"] == "b1"


def by_user(values):
    """values: (variant, seed) to the recall of users 0, 1, ... on test, those of validation all 0."""
    rows = [
        {"backbone": "sgl", "variant": variant, "seed": seed, "settings": "d", "part": part, "user": user,
         "n_train": 1, "n_held_out": 1, "recall@20": value if part == "test" else 0.0}
        for (variant, seed), own in values.items() for part in ("test", "validation") for user, value in enumerate(own)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=user_metrics_schema(["recall@20"]))


def test_wilcoxon_over_users():
    rng = np.random.default_rng(0)
    values = {
        (variant, seed): rng.random(40) + 0.1 * (variant == "con") for variant in ("base", "con") for seed in (1, 2)
    }
    runs = {("sgl", variant): [values[variant, seed].mean() for seed in (1, 2)] for variant in ("base", "con")}
    base, con = significance(metrics(runs), by_user=by_user(values)).to_pylist()
    assert base["p_wilcoxon"] is base["p_wilcoxon_holm"] is None
    of_users = [(values[variant, 1] + values[variant, 2]) / 2 for variant in ("con", "base")]
    assert con["p_wilcoxon"] == pytest.approx(stats.wilcoxon(*of_users).pvalue)
    assert con["p_wilcoxon_holm"] == con["p_wilcoxon"]
    # One seed has no t-test, but it has users.
    one = significance(
        metrics({group: own[:1] for group, own in runs.items()}),
        by_user=by_user({name: own for name, own in values.items() if name[1] == 1}),
    ).to_pylist()[1]
    assert one["p"] is None and one["p_wilcoxon"] == pytest.approx(
        stats.wilcoxon(values["con", 1], values["base", 1]).pvalue
    )


def test_users_who_do_not_differ_are_no_test():
    runs, same = {("sgl", "base"): [0.2], ("sgl", "con"): [0.2]}, {("base", 1): [0.1, 0.3], ("con", 1): [0.1, 0.3]}
    assert significance(metrics(runs), by_user=by_user(same)).to_pylist()[1]["p_wilcoxon"] is None
    assert significance(metrics(runs)).to_pylist()[1]["p_wilcoxon"] is None


def test_a_model_may_be_compared_with_the_base_of_another_backbone():
    runs = {("sgl", "base", "b"): [0.1, 0.2], ("weft", "base", "w"): [0.2, 0.35]}
    bases = {("weft", "base", "w"): ModelId("sgl", "base", 1, "b")}
    base, weft = significance(metrics(runs), bases=bases).to_pylist()
    assert (base["gain"], weft["gain"], weft["base_label"]) == (0, pytest.approx(0.55 / 0.3 - 1), "sgl base")


def test_one_seed_is_tested_over_users():
    rng = np.random.default_rng(1)
    base = rng.random(300)
    con = base + rng.normal(0.012, 0.1, 300)
    values = {("base", 1): base, ("con", 1): con}
    runs = {("sgl", "base"): [base.mean()], ("sgl", "con"): [con.mean()]}
    own, row = significance(metrics(runs), by_user=by_user(values)).to_pylist()
    # As the t-test has it on so many users.
    assert row["p_bootstrap"] == pytest.approx(stats.ttest_rel(con, base).pvalue, rel=0.2)
    assert row["gain_low"] < row["gain"] < row["gain_high"] and (row["n_users"], row["p"]) == (300, None)
    assert own["p_bootstrap"] is own["gain_low"] is own["n_users"] is None
    # Two seeds are tested as such, and say how many users there were.
    two = {group: [value, value + 0.01 * (group[1] == "con")] for group, (value,) in runs.items()}
    more = significance(metrics(two), by_user=by_user(values | {("base", 2): base, ("con", 2): con})).to_pylist()[1]
    assert (more["p_bootstrap"], more["n_users"]) == (None, 300) and more["p"] is not None


@pytest.mark.parametrize("n_users", [400, 12_345])
def test_the_bootstrap_finds_the_spread_of_the_mean(n_users):
    rng = np.random.default_rng(5)
    base = rng.random(n_users)
    p, low, high = bootstrap(base + rng.normal(0.0, 0.3, n_users), base)
    assert p > 0.01
    assert high - low == pytest.approx(2 * 1.96 * 0.3 / np.sqrt(n_users) / base.mean(), rel=0.1)
    assert bootstrap(base + 1, base).p == pytest.approx(2 / 10_001)
    assert bootstrap(base, base) == (None, None, None)
