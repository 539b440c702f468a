import pyarrow as pa
import pytest

from rlmrec_core.ranking import findings
from rlmrec_core.tables import SIGNIFICANCE

BASE = {"backbone": "lightgcn", "variant": "base", "settings": "b", "label": "lightgcn base", "base": "b"}
BASE |= {"base_label": "lightgcn base", "metric": "recall", "k": 20, "n_seeds": 5, "mean": 0.1, "gain": 0.0}
CON = BASE | {"variant": "con", "settings": "c", "label": "lightgcn con", "mean": 0.1061, "gain": 0.0612}
OVER_SEEDS = {"n_users": 561, "gain_low": 0.03, "gain_high": 0.09, "p": 0.0021, "p_holm": 0.0021}
OVER_USERS = {"n_users": 561, "gain_low": 0.03, "gain_high": 0.09, "n_seeds": 1, "p_bootstrap": 0.0021}
OVER_USERS |= {"p_bootstrap_holm": 0.0021}
CHANCE = {"gain": 0.012, "gain_low": -0.02, "gain_high": 0.04}


def told(*rows):
    return findings(pa.Table.from_pylist(list(rows), schema=SIGNIFICANCE))


def test_a_gain_over_seeds():
    assert told(BASE, CON | OVER_SEEDS) == ["con is 6.1% better than base on Recall@20 (p = .002, 5 seeds)"]


def test_one_seed_says_what_it_was_tested_on():
    (said,) = told(BASE, CON | OVER_USERS)
    assert said == "con is 6.1% better than base on Recall@20 (p = .002, one seed: bootstrap over 561 users)"


def test_a_loss_is_told_as_one():
    assert told(BASE, CON | OVER_SEEDS | {"gain": -0.04})[0].startswith("con is 4.0% worse than base")


@pytest.mark.parametrize(
    ("sample", "shown_by", "advice"),
    [(OVER_USERS, "561 users", "train.seeds"), (OVER_SEEDS, "561 users and 5 seeds", "item_profiles.generator=llm")],
)
def test_what_chance_may_have_made_is_no_difference(sample, shown_by, advice):
    (said,) = told(BASE, CON | sample | CHANCE | {name: 0.31 for name in sample if name.startswith("p")})
    assert said.startswith(f"no difference between con and base on Recall@20 that {shown_by} can show (+1.2%, 95 %")
    assert "between -2.0% and +4.0%" in said and "p = .31" in said and advice in said


def test_several_models_are_told_apart_and_corrected():
    other = CON | OVER_SEEDS | {"backbone": "sgl", "label": "sgl con", "settings": "s", "p_holm": 0.0004}
    first, second = told(BASE, CON | OVER_SEEDS, other)
    assert first == "lightgcn con is 6.1% better than lightgcn base on Recall@20 (p = .002 after Holm, 5 seeds)"
    assert "p < .001 after Holm" in second


def test_the_longest_lists_speak_where_20_was_not_measured():
    rows = [row | {"k": k} for k in (5, 10) for row in (BASE, CON | OVER_SEEDS)]
    assert ["Recall@10" in said for said in told(*rows)] == [True]


def test_nothing_is_said_of_what_was_not_compared():
    assert told(BASE) == told(BASE | {"gain": None, "base": None, "base_label": None}) == told() == []
    assert findings(pa.table({"metric": ["recall"]})) == []
