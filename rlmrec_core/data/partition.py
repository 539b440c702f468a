"""Edges divided into train, validation and test.

Whatever the scope, every user and item that is kept has at least one train edge, and wherever that allows it the sizes
of the parts are within one interaction of the ratios. Randomness comes from the generator passed in alone.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching, maximum_flow

from rlmrec_core.config.data import SplitScope
from rlmrec_core.data.edges import NO_TIME, Edges, Ints, Mask
from rlmrec_core.data.errors import DataError

Parts = npt.NDArray[np.int8]
Ratios = tuple[int, int, int]
LEFT_OUT = -1


def divide(edges: Edges, scope: SplitScope, ratios: Ratios, rng: np.random.Generator) -> Parts:
    """The part of every edge, as an index into PARTS; LEFT_OUT for what a temporal split cannot use.

    Raises DataError where scope is temporal and an edge has no time, or no cut in time leaves anything to test on.
    """
    scopes: dict[SplitScope, Callable[[Edges, Ratios, np.random.Generator], Parts]] = {
        "global": _global,
        "per_user": _per_user,
        "temporal": _temporal,
    }
    return scopes[scope](edges, ratios, rng)


def _part_sizes(n: Ints, ratios: Ratios, n_train_least: Ints, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Sizes (len(n), 3) of the parts of groups of n edges each: rounded by largest remainder, ties at random.

    A group that needs more train edges than its share gets them; validation and test divide the rest.
    """
    shares = n[:, None].astype(np.int64) * np.asarray(ratios)
    sizes: npt.NDArray[np.int64]
    sizes, remainders = shares // sum(ratios), shares % sum(ratios)
    order = np.argsort(-(remainders + rng.random(remainders.shape) / 2), axis=1)
    rank = np.argsort(order, axis=1)
    sizes += rank < (n - sizes.sum(axis=1))[:, None]
    short = sizes[:, 0] < n_train_least
    rest = n[short] - n_train_least[short]
    validation = rest * ratios[1] // max(ratios[1] + ratios[2], 1)
    sizes[short] = np.stack([n_train_least[short], validation, rest - validation], axis=1)
    return sizes


def _global(edges: Edges, ratios: Ratios, rng: np.random.Generator) -> Parts:
    """One draw over all edges, as in the paper.

    In a random order, the first edge of every user and item goes to the front; train takes the front. So only edges
    near the boundary change places, and the draw stays as random as the guarantee allows.
    """
    order = rng.permutation(len(edges))
    user, item = edges.user[order], edges.item[order]
    needed = _first_occurrences(user) | _first_occurrences(item)
    [target] = _part_sizes(np.array([len(edges)]), ratios, np.zeros(1, np.int64), rng)
    if needed.sum() > target[0]:
        needed = _smallest_cover(user, item)
    [sizes] = _part_sizes(np.array([len(edges)]), ratios, needed.sum(keepdims=True), rng)
    parts = np.empty(len(edges), np.int8)
    parts[np.concatenate([order[needed], order[~needed]])] = np.repeat([0, 1, 2], sizes)
    return parts


def _per_user(edges: Edges, ratios: Ratios, rng: np.random.Generator) -> Parts:
    """One draw within every user; the first edge of every item, in a random order, goes to its user's train part."""
    order = rng.permutation(len(edges))
    user, item = edges.user[order], edges.item[order]
    degree = np.bincount(user)
    least = np.minimum(degree, 1)
    quota = _part_sizes(degree, ratios, least, rng)[:, 0]
    needed = _first_occurrences(item)
    if (_count(user, needed) > quota).any():
        needed = _items_within_quota(user, item, quota)
    sizes = _part_sizes(degree, ratios, np.maximum(least, _count(user, needed)), rng)
    grouped = np.lexsort((~needed, user))
    parts = np.empty(len(edges), np.int8)
    parts[order[grouped]] = np.repeat(np.tile([0, 1, 2], len(degree)), sizes.ravel())
    return parts


def _temporal(edges: Edges, ratios: Ratios, rng: np.random.Generator) -> Parts:
    """Nothing in train is later than anything in validation, nothing there later than anything in test.

    Later edges of a user or item that train does not know are left out, since no edge of theirs may move to train.
    Ties in time fall at random.
    """
    _require_times(edges)
    order = np.lexsort((rng.permutation(len(edges)), edges.time))
    known_from = np.maximum(_first_positions(edges.user[order]), _first_positions(edges.item[order]))
    cut = _latest_cut(known_from, ratios)
    later = cut + np.flatnonzero(known_from[cut:] < cut)
    if not len(later) and ratios[0] < sum(ratios):
        raise DataError.at("no later interaction is between known users and items", _OTHER_SCOPE)
    # Train may fall short of its share by less than one edge; the first bound keeps that edge from making two.
    n_validation = min(
        _ceil(ratios[1] * (cut + len(later)), sum(ratios)), _ceil(ratios[1] * len(later), max(ratios[1] + ratios[2], 1))
    )
    parts = np.full(len(edges), LEFT_OUT, np.int8)
    parts[order[:cut]] = 0
    parts[order[later[:n_validation]]] = 1
    parts[order[later[n_validation:]]] = 2
    return parts


_OTHER_SCOPE = "choose prepare.scope global or per_user"


def _require_times(edges: Edges) -> None:
    timeless = edges.time == NO_TIME
    if timeless.any():
        row = int(edges.row[timeless.argmax()]) + 1
        way_out = f"name its column in ingest.columns.timestamp, or {_OTHER_SCOPE}"
        raise DataError.at("a temporal split needs a time", way_out, file="interactions", row=row, column="timestamp")


def _latest_cut(known_from: Ints, ratios: Ratios) -> int:
    """How many edges, the earliest, train takes: its share of what the cut keeps.

    Of several such cuts the latest is taken. Where users come and go so fast that there is none, it is train's share
    of all edges. Stepping back in time from the end, train loses one edge per step and what is kept gains one at most,
    so at the first cut that is not above the share it is less than one edge below it.
    """
    n = len(known_from)
    cuts = np.arange(1, n + 1)
    n_kept = cuts + _usable_later(known_from)[1:]
    fitting = cuts[cuts * sum(ratios) <= ratios[0] * n_kept]
    return int(fitting[-1]) if len(fitting) else _ceil(n * ratios[0], sum(ratios))


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _usable_later(known_from: Ints) -> npt.NDArray[np.int64]:
    """For every cut from 0 to n: how many edges from the cut on have both ends before it.

    known_from: (n,) position from which on both ends of the edge at that place in time are known.
    """
    n = len(known_from)
    change = np.bincount(known_from + 1, minlength=n + 2) - np.bincount(np.arange(n) + 1, minlength=n + 2)
    return np.cumsum(change)[: n + 1]


def _first_occurrences(codes: Ints) -> Mask:
    """True where a code occurs for the first time."""
    first: Mask = _first_positions(codes) == np.arange(len(codes))
    return first


def _first_positions(codes: Ints) -> npt.NDArray[np.int64]:
    first = np.zeros(codes.max(initial=-1) + 1, np.int64)
    backwards = np.arange(len(codes))[::-1]
    first[codes[backwards]] = backwards  # the last assignment wins
    positions: npt.NDArray[np.int64] = first[codes]
    return positions


def _count(user: Ints, needed: Mask) -> npt.NDArray[np.int64]:
    return np.bincount(user[needed], minlength=user.max(initial=-1) + 1)


def _smallest_cover(user: Ints, item: Ints) -> Mask:
    """The fewest edges that touch every user and item: a maximum matching and one edge for each left over (Gallai)."""
    graph = csr_array((np.ones(len(user), np.int8), (user, item)))
    partner = maximum_bipartite_matching(graph, perm_type="column")
    matched: Mask = partner[user] == item
    user_done, item_done = np.zeros(graph.shape[0], bool), np.zeros(graph.shape[1], bool)
    user_done[user[matched]] = item_done[item[matched]] = True
    users_left: Mask = _first_occurrences(user) & ~user_done[user]
    items_left: Mask = _first_occurrences(item) & ~item_done[item]
    return matched | users_left | items_left


def _items_within_quota(user: Ints, item: Ints, quota: Ints) -> Mask:
    """One edge for every item so that no user has more than its quota, where that is possible: a maximum flow."""
    n_users, n_items = int(user.max()) + 1, int(item.max()) + 1
    source, sink = n_users + n_items, n_users + n_items + 1
    tails = np.concatenate([np.full(n_items, source), n_users + item, np.arange(n_users)])
    heads = np.concatenate([n_users + np.arange(n_items), user, np.full(n_users, sink)])
    capacity = np.concatenate([np.ones(n_items + len(item), np.int32), quota.astype(np.int32)])
    graph = csr_array((capacity, (tails, heads)), shape=(sink + 1, sink + 1))
    flow = maximum_flow(graph, source, sink).flow
    chosen: Mask = np.asarray(flow[n_users + item, user]).ravel() == 1
    item_done = np.zeros(n_items, bool)
    item_done[item[chosen]] = True
    items_left: Mask = _first_occurrences(item) & ~item_done[item]
    return chosen | items_left
