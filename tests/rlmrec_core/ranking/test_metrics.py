import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.metrics import LinkPredCoverage, LinkPredNDCG, LinkPredRecall

from rlmrec_core.ranking.metrics import capped_recall, coverage, find_hits, ndcg, novelty, recall
from rlmrec_core.split import Edges


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
    assert novelty(RANKED, 1, popularity, n_users=4) == pytest.approx((2 + 2 + 0) / 3)
    assert novelty(RANKED[1:2], 3, popularity, n_users=4) == pytest.approx((2 + 0) / 2)


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
    for metric, reference in ((recall, LinkPredRecall(k)), (ndcg, LinkPredNDCG(k))):
        reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
        assert metric(hits, k).mean() == pytest.approx(reference.compute().item(), rel=1e-5)
    reference = LinkPredCoverage(k, num_dst_nodes=n_items)
    reference.update(torch.from_numpy(ranked[:, :k]).long(), labels)
    assert coverage(ranked, k, n_items) == pytest.approx(reference.compute().item())
