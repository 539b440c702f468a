"""Measures of ranked lists: accuracy against held-out interactions, and what the lists are made of."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Int32Array, Int64Array, pair_keys

Float64Array = npt.NDArray[np.float64]


class Hits(NamedTuple):
    """Lists against held-out items, for the n users who have any.

    users: (n,) their ids; hit: (n, k) bool, whether the item at that rank is held out; n_held_out: (n,).
    """

    users: Int64Array
    hit: npt.NDArray[np.bool_]
    n_held_out: Int64Array


def find_hits(ranked: Int32Array, held_out: Edges, n_items: int) -> Hits:
    """ranked: (n_users, k) items, best first; held_out: pairs ordered by user, then item."""
    counts = np.bincount(held_out.user, minlength=len(ranked))
    users = np.flatnonzero(counts)
    lists = ranked[users]
    keys = pair_keys(held_out.user, held_out.item, n_items)
    wanted = pair_keys(np.repeat(users, ranked.shape[1]), lists.reshape(-1), n_items)
    place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    hit = (keys[place] == wanted).reshape(lists.shape) & (lists != PADDING)
    return Hits(users, hit, counts[users])


def recall(hits: Hits, k: int) -> Float64Array:
    """Share of each user's held-out items among the first k, (n,)."""
    found: Float64Array = hits.hit[:, :k].sum(1) / hits.n_held_out
    return found


def capped_recall(hits: Hits, k: int) -> Float64Array:
    """Hits among the first k over the most there could be, min(k, held-out items), (n,) (CLLM4Rec, section 4.1)."""
    found: Float64Array = hits.hit[:, :k].sum(1) / np.minimum(hits.n_held_out, k)
    return found


def ndcg(hits: Hits, k: int) -> Float64Array:
    """Discounted gain of the first k over that of the best possible list of min(k, held-out items), (n,)."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(hits.n_held_out, k) - 1]
    gain: Float64Array = hits.hit[:, :k] @ discount / ideal
    return gain


def coverage(ranked: Int32Array, k: int, n_items: int) -> float:
    """Share of the catalogue that appears in the first k of at least one list. ranked: (n, k or more)."""
    shown = np.unique(ranked[:, :k])
    return float(np.count_nonzero(shown != PADDING) / n_items)


def novelty(ranked: Int32Array, k: int, popularity: Int64Array, n_users: int) -> float:
    """Mean self-information in bits of the items in the first k: -log2 of the share of users who have them in train.

    ranked: (n, k or more); popularity: (n_items,) train interactions, counted as one where there is none.
    """
    shown = ranked[:, :k]
    bits = -np.log2(np.maximum(popularity, 1) / n_users)
    return float(bits[shown[shown != PADDING]].mean())
