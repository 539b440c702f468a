import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredDiversity,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from rlmrec_core.ranking import metrics
from rlmrec_core.ranking.metrics import (
    average_popularity,
    average_precision,
    capped_recall,
    coverage,
    diversity,
    find_hits,
    gini,
    hit_rate,
    ndcg,
    novelty,
    precision,
    recall,
    reciprocal_rank,
)
from rlmrec_core.split import Edges
from rlmrec_core.vectors import unit_rows


def edges(pairs):
    user, item = (np.array(column, dtype=np.int32) for column in zip(*sorted(pairs), strict=True))
    return Edges(user, item)


RANKED = np.array([[3, 1, 0], [2, 0, -1], [0, 1, 2]], dtype=np.int32)
HELD_OUT = edges([(0, 1), (0, 2), (1, 0)])


def test_by_hand():
    hits = find_hits(RANKED, HELD_OUT, n_items=4)
    assert hits.users.tolist() == [0, 1]
    assert hits.hit.tolist() == [[False, True, False], [False, True, False]]
    assert recall(hits, 2).tolist() == [0.5, 1.0]
    assert recall(hits, 1).tolist() == [0.0, 0.0]
    assert capped_recall(hits, 1).tolist() == [0.0, 0.0]
    assert capped_recall(hits, 3).tolist() == [0.5, 1.0]
    second = 1 / math.log2(3)
    np.testing.assert_allclose(ndcg(hits, 2), [second / (1 + second), second])
    np.testing.assert_allclose(ndcg(hits, 3), [second / (1 + second), second])


def test_capped_recall_is_full_where_every_place_is_a_hit():
    hits = find_hits(np.array([[1, 2]], dtype=np.int32), edges([(0, 1), (0, 2), (0, 3), (0, 4)]), n_items=5)
    assert (recall(hits, 2).item(), capped_recall(hits, 2).item()) == (0.5, 1.0)


def test_coverage_and_novelty_by_hand():
    assert coverage(RANKED, 1, n_items=4) == 3 / 4
    assert coverage(RANKED, 3, n_items=4) == 1
    popularity = np.array([4, 2, 1, 0])
    bits, lengths = novelty(RANKED, 1, popularity, n_users=4)
    assert bits @ lengths / lengths.sum() == pytest.approx((2 + 2 + 0) / 3)
    bits, lengths = novelty(RANKED[1:2], 3, popularity, n_users=4)
    assert (bits.tolist(), lengths.tolist()) == ([(2 + 0) / 2], [2])
    bits, lengths = novelty(np.full((1, 2), -1, np.int32), 2, popularity, n_users=4)
    assert np.isnan(bits[0]) and not lengths[0]


def test_padding_is_never_a_hit():
    # The pair key of user 1 and padding is that of user 0 and the last item.
    hits = find_hits(np.array([[0, 1], [-1, -1]], dtype=np.int32), edges([(0, 3), (1, 2)]), n_items=4)
    assert not hits.hit.any()


def test_nobody_with_a_held_out_item():
    nothing = np.array([], dtype=np.int32)
    assert len(find_hits(RANKED, Edges(nothing, nothing), 4).users) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_equal_to_the_metrics_of_pyg(seed, k):
    rng = np.random.default_rng(seed)
    n_users, n_items = 6, 12
    ranked = np.array([rng.permutation(n_items)[:8] for _ in range(n_users)], dtype=np.int32)
    held_out = np.argwhere(rng.random((n_users, n_items)) < 0.25)
    held_out = held_out if len(held_out) else np.array([[0, 0]])
    hits = find_hits(ranked, edges(held_out.tolist()), n_items)
    labels = torch.from_numpy(held_out.T)
    twins = {
        recall: LinkPredRecall,
        ndcg: LinkPredNDCG,
        precision: LinkPredPrecision,
        hit_rate: LinkPredHitRatio,
        reciprocal_rank: LinkPredMRR,
        average_precision: LinkPredMAP,
    }
    for metric, twin in twins.items():
        reference = twin(k)
        reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
        assert metric(hits, k).mean() == pytest.approx(reference.compute().item(), rel=1e-5)
    reference = LinkPredCoverage(k, num_dst_nodes=n_items)
    reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
    assert coverage(ranked, k, n_items) == pytest.approx(reference.compute().item())
    popularity = rng.integers(0, 50, n_items)
    reference = LinkPredAveragePopularity(k, torch.from_numpy(popularity))
    reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
    assert average_popularity(ranked, k, popularity).mean() == pytest.approx(reference.compute().item(), rel=1e-5)
    if k > 1:  # vectors of one category each have the cosine 1 or 0
        category = rng.integers(0, 3, n_items)
        reference = LinkPredDiversity(k, torch.from_numpy(category))
        reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
        one_hot = np.eye(3, dtype=np.float32)[category]
        assert diversity(ranked, k, one_hot).mean() == pytest.approx(reference.compute().item(), abs=1e-5)


def test_more_by_hand():
    hits = find_hits(np.array([[3, 1, 2], [2, 0, -1], [1, 2, 3]], np.int32), edges([(0, 1), (0, 2), (1, 0), (2, 0)]), 4)
    assert precision(hits, 2).tolist() == [0.5, 0.5, 0]
    assert precision(hits, 5).tolist() == [0.4, 0.2, 0]  # five places, though the lists have three
    assert hit_rate(hits, 1).tolist() == [0, 0, 0] and hit_rate(hits, 2).tolist() == [1, 1, 0]
    assert reciprocal_rank(hits, 3).tolist() == [0.5, 0.5, 0]
    assert average_precision(hits, 3).tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2), 0.5, 0]
    assert average_precision(hits, 1).tolist() == [0, 0, 0]
    assert average_popularity(RANKED, 2, np.array([4, 2, 1, 9])).tolist() == [5.5, 2.5, 3]


def test_a_list_of_nothing_has_neither_popularity_nor_diversity():
    nothing = np.full((1, 3), -1, np.int32)
    assert np.isnan(average_popularity(nothing, 3, np.ones(4, np.int64))).all()
    assert np.isnan(diversity(nothing, 3, np.eye(4, dtype=np.float32))).all()
    assert gini(nothing, 3, 4) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_diversity_and_gini_are_what_they_say(seed, k):
    rng = np.random.default_rng(seed)
    unit = unit_rows(rng.normal(size=(9, 4)))
    unit[rng.random(9) < 0.3] = 0
    ranked = np.where(rng.random((5, 6)) < 0.2, -1, np.array([rng.permutation(9)[:6] for _ in range(5)])).astype("i4")
    for row, found in zip(ranked, diversity(ranked, k, unit), strict=True):
        items = [item for item in row[:k] if item >= 0 and unit[item].any()]
        pairs = [1 - unit[one] @ unit[two] for one in items for two in items if one != two]
        assert found == pytest.approx(np.mean(pairs), abs=1e-5) if pairs else np.isnan(found)
    times = [(ranked[:, :k] == item).sum() for item in range(9)]
    apart = sum(abs(one - two) for one in times for two in times)
    expected = apart / (2 * 9 * sum(times)) * 9 / 8 if sum(times) else 0
    assert gini(ranked, k, 9) == pytest.approx(expected)


def test_diversity_in_chunks_of_users(monkeypatch):
    rng = np.random.default_rng(0)
    unit, ranked = unit_rows(rng.normal(size=(9, 4))), rng.integers(0, 9, (7, 3)).astype(np.int32)
    whole = diversity(ranked, 3, unit)
    monkeypatch.setattr(metrics, "_CHUNK_USERS", 2)
    assert diversity(ranked, 3, unit).tolist() == whole.tolist()


def test_gini_at_its_ends():
    assert gini(np.array([[0, 1], [2, 3]], np.int32), 2, 4) == pytest.approx(0)
    assert gini(np.array([[1], [1]], np.int32), 1, 4) == pytest.approx(1)
