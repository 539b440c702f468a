"""Measures of ranked lists: accuracy against held-out interactions, and what the lists are made of."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Int32Array, Int64Array, pair_keys
from rlmrec_core.vectors import Float32Array

Float64Array = npt.NDArray[np.float64]

_CHUNK_USERS = 4096
"""Users whose lists' summed vectors `diversity` holds at once."""


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


def precision(hits: Hits, k: int) -> Float64Array:
    """Share of hits among the k places, also where a list is shorter, (n,) (Herlocker et al., TOIS 2004)."""
    found: Float64Array = np.asarray(hits.hit[:, :k].sum(1)) / k
    return found


def hit_rate(hits: Hits, k: int) -> Float64Array:
    """1 where the first k hold any held-out item, else 0, (n,) (Deshpande & Karypis, TOIS 2004)."""
    return np.asarray(hits.hit[:, :k].any(1), dtype=np.float64)


def reciprocal_rank(hits: Hits, k: int) -> Float64Array:
    """1 over the rank of the first hit among the first k, 0 without one, (n,); its mean is MRR (Voorhees, TREC-8)."""
    hit = hits.hit[:, :k]
    found: Float64Array = np.asarray((hit / np.arange(1, hit.shape[1] + 1)).max(1, initial=0))
    return found


def average_precision(hits: Hits, k: int) -> Float64Array:
    """Precision at each hit among the first k, summed, over min(k, held-out items), (n,); its mean is MAP@k.

    The divisor is the most hits there could be, as in PyTorch Geometric; trec_eval's `map_cut` divides by all held-out
    items, also where there are more than k.
    """
    hit = hits.hit[:, :k]
    at_each = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    found: Float64Array = (at_each * hit).sum(1) / np.minimum(hits.n_held_out, k)
    return found


def average_popularity(ranked: Int32Array, k: int, popularity: Int64Array) -> Float64Array:
    """Mean train interactions of the first k items of each list, (n,) (ARP; Yin et al., VLDB 2012).

    ranked: (n, k or more); popularity: (n_items,). NaN for a list without any item.
    """
    shown = ranked[:, :k]
    there = shown != PADDING
    return _ratio((popularity[shown] * there).sum(1), there.sum(1))


def diversity(ranked: Int32Array, k: int, unit: Float32Array) -> Float64Array:
    """Intra-list diversity: 1 - the mean cosine of all pairs of the first k items, (n,) (Ziegler et al., WWW 2005).

    ranked: (n, k or more); unit: (n_items, d) semantic vectors of length one, or zero where an item has none. Such
    items are left out; NaN for a list of fewer than two others.
    """
    known = np.asarray(unit.any(axis=1))
    shown = ranked[:, :k]
    found = np.empty(len(shown))
    for start in range(0, len(shown), _CHUNK_USERS):
        part = shown[start : start + _CHUNK_USERS]
        there = (part != PADDING) & known[part]
        counts = there.sum(1)
        offsets = np.concatenate([[0], counts.cumsum()])
        lists = csr_array((np.ones(offsets[-1], np.float32), part[there], offsets), shape=(len(part), len(unit)))
        # The squared length of the sum holds every pair twice, and each item's own length of one.
        pairs = np.square((lists @ unit).astype(np.float64)).sum(1) - counts
        found[start : start + len(part)] = 1 - _ratio(pairs, counts * (counts - 1))
    return found


def gini(ranked: Int32Array, k: int, n_items: int) -> float:
    """Gini index of how often each item of the catalogue stands in the first k: 0 equally often, 1 one item alone.

    With shares p in ascending order, sum over j of (2j - n - 1) p_j / (n - 1) (Shani & Gunawardana, "Evaluating
    Recommendation Systems", 2011). ranked: (n, k or more).
    """
    shown = ranked[:, :k]
    times = np.sort(np.bincount(shown[shown != PADDING], minlength=n_items))
    if n_items < 2 or not times.any():
        return 0.0
    return float((2 * np.arange(1, n_items + 1) - n_items - 1) @ times / (times.sum() * (n_items - 1)))


def _ratio(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.integer]) -> Float64Array:
    """Their quotient, NaN where the denominator is 0."""
    quotient: Float64Array = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient


def coverage(ranked: Int32Array, k: int, n_items: int) -> float:
    """Share of the catalogue that appears in the first k of at least one list. ranked: (n, k or more)."""
    shown = np.unique(ranked[:, :k])
    return float(np.count_nonzero(shown != PADDING) / n_items)


def novelty(ranked: Int32Array, k: int, popularity: Int64Array, n_users: int) -> tuple[Float64Array, Float64Array]:
    """Mean self-information in bits of the first k items of each list, -log2 of the share of users who have them.

    ranked: (n, k or more); popularity: (n_items,) train interactions, counted as one where there is none. Returns (n,)
    and how many items each list has, (n,): by these the mean over users is that over all items that are shown. NaN for
    a list without any.
    """
    shown = ranked[:, :k]
    there = shown != PADDING
    bits = -np.log2(np.maximum(popularity, 1) / n_users)
    lengths = there.sum(1)
    return _ratio((bits[shown] * there).sum(1), lengths), lengths.astype(np.float64)
