import numpy as np
import pytest

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.ranking import EASE, ITEM_KNN, ease_left_out, evaluate, item_based
from rlmrec_core.ranking.item_based import ease, item_knn, top_k_by_items
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Split


def random_split(seed, n_users=30, n_items=17):
    """Item 0 is nobody's, and item 1 everybody's."""
    taken = np.random.default_rng(seed).random((n_users, n_items)) < 0.25
    taken[:, 0], taken[:, 1] = False, True
    user, item = (ids.astype(np.int32) for ids in np.nonzero(taken))
    nothing = Edges(user[:0], item[:0])
    return Split(n_users, n_items, Edges(user, item), nothing, nothing), taken.astype(float)


@pytest.mark.parametrize("n_neighbours", [1, 4, 100])
@pytest.mark.parametrize("block", [1, 60, 1 << 22])
def test_item_knn_equals_cosines_taken_pair_by_pair(n_neighbours, block, monkeypatch):
    monkeypatch.setattr(item_based, "_BLOCK_PRODUCTS", block)
    split, taken = random_split(n_neighbours)
    wanted = np.zeros((17, 17))
    for item in range(17):
        cosines = {}
        for other in range(17):
            both = taken[:, item] @ taken[:, other]
            if other != item and both:
                cosines[other] = both / np.sqrt(taken[:, item].sum() * taken[:, other].sum())
        nearest = sorted(cosines, key=lambda other: (-np.float32(cosines[other]), other))[:n_neighbours]
        wanted[nearest, item] = [cosines[other] for other in nearest]
    found = item_knn(split, n_neighbours).toarray()
    # Cosines that are equal may be summed in another order: what stands is which values each item has.
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(wanted, axis=0), atol=1e-6)
    assert not found.diagonal().any()


def test_ease_is_the_ridge_regression_of_each_item_on_the_others():
    split, taken = random_split(3)
    found = ease(split, 2.5)
    for item in range(17):
        others = [other for other in range(17) if other != item]
        x = taken[:, others]
        weights = np.linalg.solve(x.T @ x + 2.5 * np.eye(16), x.T @ taken[:, item])
        np.testing.assert_allclose(found[others, item], weights, atol=1e-5)
    assert not found.diagonal().any()


@pytest.mark.parametrize("weights", [item_knn, ease])
def test_lists_are_those_of_dense_scores_without_train_items(weights):
    split, taken = random_split(5)
    found = weights(split, 3)
    scores = taken @ (found if weights is ease else found.toarray())
    scores[taken > 0] = -np.inf
    ranking = top_k_by_items(split, found, 20)
    np.testing.assert_allclose(ranking.scores[:, :17], -np.sort(-scores, axis=1), atol=1e-5)
    assert (ranking.items[:, 17:] == PADDING).all()
    listed = ranking.items != PADDING
    rows = np.nonzero(listed)[0]
    assert not taken[rows, ranking.items[listed]].any()


def test_both_find_the_checkerboard_that_popularity_does_not(checkerboard):
    table = evaluate(checkerboard, {}, EvaluateConfig(ks=(12,), metrics=("recall",))).to_pylist()
    found = {row["backbone"]: row for row in table if row["part"] == "test"}
    assert list(found) == [ITEM_KNN.backbone, EASE.backbone, "popularity"]
    assert found["item_knn"]["value"] == found["ease"]["value"] == 1 > found["popularity"]["value"]
    assert found["ease"]["gain"] == pytest.approx(1 - found["popularity"]["value"])


def test_ease_on_many_items_is_left_out_and_says_why(checkerboard):
    config = EvaluateConfig(ks=(12,), ease_max_items=59)
    assert "60 x 60 items" in ease_left_out(checkerboard, config)
    assert "evaluate.ease_max_items=60" in ease_left_out(checkerboard, config)
    assert "ease" not in evaluate(checkerboard, {}, config)["backbone"].to_pylist()
    for silent in ({"ease_max_items": 60}, {"ease_max_items": 59, "baselines": ("item_knn",)}):
        assert not ease_left_out(checkerboard, EvaluateConfig(**silent))
    nothing = EvaluateConfig(ks=(12,), baselines=())
    assert set(evaluate(checkerboard, {}, nothing)["backbone"].to_pylist()) == {"popularity"}
