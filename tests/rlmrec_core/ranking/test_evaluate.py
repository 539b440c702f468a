from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.config.ranking import MetricName
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking import SEMANTIC_ONLY, evaluate, measure, popularity, semantic_only
from rlmrec_core.ranking.groups import item_groups, user_groups
from rlmrec_core.ranking.top_k import top_k
from rlmrec_core.split import Split
from rlmrec_core.tables import GROUP_METRICS, METRICS
from rlmrec_core.vectors import SemanticEmbeddings, Vectors


def perfect(split):
    """Vectors that give every user the items of the user's own held-out parts first."""
    scores = np.zeros((split.n_users, split.n_items), dtype=np.float32)
    for part in (split.validation, split.test):
        scores[part.user, part.item] = 1
    return Vectors(scores, np.eye(split.n_items, dtype=np.float32))


def value(table, **wanted):
    rows = [row for row in table.to_pylist() if all(row[name] == wanted[name] for name in wanted)]
    assert len(rows) == 1
    return rows[0]["value"]


def test_one_row_per_model_part_metric_and_cut_off(checkerboard):
    models = {ModelId("lightgcn", "base", 1): perfect(checkerboard)}
    table = evaluate(checkerboard, models, EvaluateConfig(ks=(6, 12)))
    assert table.schema.equals(METRICS)
    assert len(table) == 4 * 2 * 4 * 2
    assert value(table, backbone="lightgcn", part="test", metric="recall", k=12) == 1
    assert value(table, backbone="lightgcn", part="validation", metric="recall", k=12) == 1
    assert value(table, backbone="lightgcn", part="test", metric="coverage", k=12) == 1
    assert value(table, backbone="popularity", variant="popularity", seed=0, part="test", metric="recall", k=12) < 1


def test_metrics_are_those_that_were_asked_for(checkerboard):
    models = {ModelId("cllm4rec", "base", 1): perfect(checkerboard)}
    table = evaluate(checkerboard, models, EvaluateConfig(ks=(3,), metrics=("recall", "capped_recall")))
    assert set(table["metric"].to_pylist()) == {"recall", "capped_recall"}
    assert value(table, backbone="cllm4rec", part="test", metric="recall", k=3) < 1
    with pytest.raises(ValueError, match="recall is needed"):
        EvaluateConfig(metrics=("ndcg",))


def test_train_items_are_left_out_and_the_held_out_parts_are_not(hand_split):
    table = evaluate(hand_split, {}, EvaluateConfig(ks=(1,), baselines=()))
    # Popularity 2, 1, 1, 0: user 1 has item 0 in train, so item 1 comes first and is the validation item.
    assert value(table, part="validation", metric="recall", k=1) == 1
    # Users 0 and 2 have test items 3 and 0: only item 0 comes first, for user 2.
    assert value(table, part="test", metric="recall", k=1) == 0.5


def test_popularity_ranks_the_lower_id_first_among_equals(hand_split):
    ranked = top_k(hand_split, *popularity(hand_split), 4).items
    assert ranked.tolist() == [[2, 3, -1, -1], [1, 2, 3, -1], [0, 1, 3, -1]]


def test_a_part_without_interactions_has_no_rows(hand_split):
    split = type(hand_split)(3, 4, hand_split.train, hand_split.test, type(hand_split.test)(*np.empty((2, 0), "i4")))
    assert set(evaluate(split, {}, EvaluateConfig(ks=(1,), baselines=()))["part"].to_pylist()) == {"validation"}


def test_semantic_only_ranks_by_cosine(hand_split):
    items = np.array([[9, 0], [1, 1], [0, 5], [0, 0]], dtype=np.float32)
    users = np.array([[1, 0], [0, 7], [3, 0]], dtype=np.float32)
    vectors = semantic_only(SemanticEmbeddings(users, items))
    assert (vectors.users @ vectors.items.T)[1] == pytest.approx([0, 2**-0.5, 1, 0])
    table = evaluate(hand_split, {SEMANTIC_ONLY: vectors}, EvaluateConfig(ks=(1,), baselines=()))
    # User 2 has item 2 in train; item 0 points the same way as the user and is the test item. User 0's is never first.
    assert value(table, backbone="semantic", part="test", metric="recall", k=1) == 0.5


EVERY = get_args(MetricName)


def split_of(pairs, n_users, n_items):
    columns = [
        pa.array(column, type_) for column, type_ in zip(zip(*pairs, strict=True), ("i4", "i4", "str"), strict=True)
    ]
    return Split.from_table(pa.table(columns, names=["user", "item", "part"]), n_users, n_items)


def test_every_metric_has_its_rows_and_its_users(checkerboard, colours):
    models = {ModelId("lightgcn", "base", 1): perfect(checkerboard)}
    found = measure(checkerboard, models, EvaluateConfig(ks=(3, 12), metrics=EVERY), semantic=colours)
    assert {(row["metric"], row["k"]) for row in found.metrics.to_pylist()} == {
        (name, k) for name in EVERY for k in (3, 12)
    }
    assert all(row["low"] <= row["value"] <= row["high"] for row in found.metrics.to_pylist())
    of_users = [name for name in found.by_user.column_names if "@" in name]
    assert {name.partition("@")[0] for name in of_users} == {*EVERY} - {"coverage", "novelty", "gini"}
    own = found.by_user.filter((pc.field("backbone") == "lightgcn") & (pc.field("part") == "test"))
    assert own["user"].to_pylist() == list(range(40))
    assert own["n_train"].to_pylist() == [18] * 40 and own["n_held_out"].to_pylist() == [6] * 40
    for name in of_users:
        metric, _, k = name.partition("@")
        mean = value(found.metrics, backbone="lightgcn", part="test", metric=metric, k=int(k))
        assert np.mean(own[name].to_numpy()) == pytest.approx(mean)


def test_the_false_pairs_that_a_model_learnt_are_left_out_of_its_lists(hand_split):
    wanted = Vectors(np.ones((3, 1), np.float32), np.array([[1], [9], [8], [7]], np.float32))
    models = {ModelId("lightgcn", "base", seed): wanted for seed in (1, 2)}
    noisy = split_of([(0, 0, "train"), (0, 1, "train"), (1, 0, "train"), (2, 2, "train"), (2, 1, "train")], 3, 4)
    config = EvaluateConfig(ks=(1, 2))
    table = measure(hand_split, models, config, learnt_from={ModelId("lightgcn", "base", 2): noisy}).metrics
    # User 2 has item 0 for test, and the scores prefer 1 and 3; user 0 has item 3, after 2.
    assert value(table, seed=1, part="test", metric="recall", k=2) == 0.5
    assert value(table, seed=2, part="test", metric="recall", k=2) == 1


def test_diversity_without_semantic_vectors_has_no_rows(hand_split):
    found = measure(hand_split, {}, EvaluateConfig(baselines=(), ks=(2,), metrics=("recall", "diversity")))
    assert set(found.metrics["metric"].to_pylist()) == {"recall"}


def test_a_user_without_a_value_is_null_and_left_out(hand_split):
    semantic = SemanticEmbeddings(np.eye(3, dtype=np.float32), np.eye(4, 3, dtype=np.float32))
    semantic.items[2] = 0  # of user 0 two items are left to rank, neither of which has a vector
    found = measure(
        hand_split, {}, EvaluateConfig(baselines=(), ks=(3,), metrics=("recall", "diversity")), semantic=semantic
    )
    own = found.by_user.filter(pc.field("part") == "test")
    assert (own["user"].to_pylist(), own["diversity@3"].to_pylist()) == ([0, 2], [None, 1.0])
    assert value(found.metrics, part="test", metric="diversity", k=3) == 1


@pytest.mark.parametrize("intervals", ["normal", "bootstrap"])
def test_nothing_held_out_at_all(hand_split, intervals):
    found = measure(hand_split.all_in_train(), {}, EvaluateConfig(baselines=(), intervals=intervals))
    assert [len(found.metrics), len(found.by_user), len(found.groups)] == [0, 0, 0]
    assert found.groups.schema.equals(GROUP_METRICS)


def random_split(seed):
    rng = np.random.default_rng(seed)
    owner = rng.choice(["train", "test", ""], (12, 15), p=[0.3, 0.2, 0.5])
    cold = (rng.random((12, 1)) < 0.1) | (rng.random(15) < 0.1)
    owner[cold & (owner == "train")] = ""
    pairs = [(int(user), int(item), str(owner[user, item])) for user, item in np.argwhere(owner != "")]
    return split_of([*pairs, *([] if "train" in owner else [(0, 0, "train")])], 12, 15)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_groups_by_brute_force(seed):
    split = random_split(seed)
    found = measure(
        split, {}, EvaluateConfig(baselines=(), ks=(4,), metrics=("recall", "ndcg", "mrr"))
    ).groups.to_pylist()
    ranked = top_k(split, *popularity(split), 4).items
    taken = {side: np.bincount(getattr(split.train, side), minlength=n) for side, n in (("user", 12), ("item", 15))}
    test = list(zip(split.test.user.tolist(), split.test.item.tolist(), strict=True))
    seen = set()
    for row in found:
        side = row["by"].partition("_")[0]
        inside = [row["at_least"] <= n <= row["at_most"] for n in taken[side]]
        wanted = {}
        for user, item in test:
            if inside[user if side == "user" else item]:
                wanted.setdefault(user, set()).add(item)
        ranks = {
            user: [place for place, item in enumerate(ranked[user]) if item in own] for user, own in wanted.items()
        }
        gain = {
            "recall": lambda user, wanted=wanted, ranks=ranks: len(ranks[user]) / len(wanted[user]),
            "mrr": lambda user, ranks=ranks: 1 / (1 + ranks[user][0]) if ranks[user] else 0,
            "ndcg": lambda user, wanted=wanted, ranks=ranks: (
                sum(1 / np.log2(2 + place) for place in ranks[user])
                / sum(1 / np.log2(2 + place) for place in range(min(4, len(wanted[user]))))
            ),
        }[row["metric"]]
        assert row["users"] == len(wanted)
        assert row["value"] == pytest.approx(np.mean([gain(user) for user in wanted]))
        seen.add((row["by"], row["group"]))
    # Every user and item belongs to one group of its side, and each group that is held against something is told.
    for side, groups, of_test in (
        ("user_activity", user_groups(split), split.test.user),
        ("item_popularity", item_groups(split), split.test.item),
    ):
        assert sum(group.members.astype(int) for group in groups).tolist() == [1] * len(groups[0].members)
        assert {name for by, name in seen if by == side} == {g.name for g in groups if g.members[of_test].any()}


def test_groups_by_hand():
    train = [(user, item, "train") for user in range(6) for item in range(user + 1)]
    split = split_of([*train, (6, 0, "test")], 7, 7)
    named = {group.name: np.flatnonzero(group.members).tolist() for group in user_groups(split)}
    assert named == {"cold": [6], "low": [0, 1], "middle": [2, 3], "high": [4, 5]}
    # Items have 6, 5, 4, 3, 2, 1 and 0 of 21 interactions: seven make a third.
    named = {group.name: np.flatnonzero(group.members).tolist() for group in item_groups(split)}
    assert named == {"cold": [6], "tail": [2, 3, 4, 5], "middle": [1], "head": [0]}
