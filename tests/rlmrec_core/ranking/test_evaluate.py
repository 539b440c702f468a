import numpy as np
import pytest

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking import SEMANTIC_ONLY, evaluate, popularity, semantic_only
from rlmrec_core.ranking.top_k import top_k
from rlmrec_core.tables import METRICS
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
    assert len(table) == 2 * 2 * 4 * 2
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
    table = evaluate(hand_split, {}, EvaluateConfig(ks=(1,)))
    # Popularity 2, 1, 1, 0: user 1 has item 0 in train, so item 1 comes first and is the validation item.
    assert value(table, part="validation", metric="recall", k=1) == 1
    # Users 0 and 2 have test items 3 and 0: only item 0 comes first, for user 2.
    assert value(table, part="test", metric="recall", k=1) == 0.5


def test_popularity_ranks_the_lower_id_first_among_equals(hand_split):
    ranked = top_k(hand_split, *popularity(hand_split), 4).items
    assert ranked.tolist() == [[2, 3, -1, -1], [1, 2, 3, -1], [0, 1, 3, -1]]


def test_a_part_without_interactions_has_no_rows(hand_split):
    split = type(hand_split)(3, 4, hand_split.train, hand_split.test, type(hand_split.test)(*np.empty((2, 0), "i4")))
    assert set(evaluate(split, {}, EvaluateConfig(ks=(1,)))["part"].to_pylist()) == {"validation"}


def test_semantic_only_ranks_by_cosine(hand_split):
    items = np.array([[9, 0], [1, 1], [0, 5], [0, 0]], dtype=np.float32)
    users = np.array([[1, 0], [0, 7], [3, 0]], dtype=np.float32)
    vectors = semantic_only(SemanticEmbeddings(users, items))
    assert (vectors.users @ vectors.items.T)[1] == pytest.approx([0, 2**-0.5, 1, 0])
    table = evaluate(hand_split, {SEMANTIC_ONLY: vectors}, EvaluateConfig(ks=(1,)))
    # User 2 has item 2 in train; item 0 points the same way as the user and is the test item. User 0's is never first.
    assert value(table, backbone="semantic", part="test", metric="recall", k=1) == 0.5
