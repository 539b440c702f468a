"""The k-core of a bipartite graph, by peeling."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rlmrec_core.data.edges import Ints, Mask

_EDGES_PER_THREAD = 500_000
_MOST_THREADS = 4
_WORTH_RENUMBERING = 0.75

Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class _Share:
    """One thread's edges: codes (users, items) and positions, each (n,). An edge that is gone has the last code."""

    codes: tuple[Ints, Ints]
    position: Places | int
    """One number is the position of the first of edges in a row: a list of all would be costly and soon thrown away."""


def k_core(user: Ints, item: Ints, k_user: int, k_item: int) -> Places:
    """Positions, ascending, of the edges in which every user has at least k_user edges and every item k_item.

    user, item: (n_edges,) codes from 0, each pair once. The result is the largest such set; it may be empty.
    The sides take turns: users are counted, the edges of those with too few go, then the same with items, until
    neither loses any. Each thread has its share of the edges; the result does not depend on their number.
    """
    # The code after the last one stands for the end of an edge that is gone.
    gone = [int(codes.max(initial=-1)) + 1 for codes in (user, item)]
    shares = _shares(user, item)
    side, n_settled, ours = 0, 0, False
    with ThreadPoolExecutor(len(shares)) as pool:
        while n_settled < 2:
            degrees = reduce(np.add, pool.map(partial(_degrees, side=side, n_codes=gone[side] + 1), shares))
            enough = degrees >= (k_user, k_item)[side]
            n_lost = int(degrees[:-1][~enough[:-1]].sum())
            n_settled = 1 if n_lost else n_settled + 1
            # What the caller gave is left as it is: the first to lose edges are copied without them.
            if n_lost and (not ours or enough.sum() < _WORTH_RENUMBERING * len(enough)):
                enough[-1] = False
                numbers = np.cumsum(enough, dtype=np.int32) - 1
                renumber = partial(_renumbered, side=side, enough=enough, numbers=numbers)
                shares, ours = list(pool.map(renumber, shares)), True
                gone[side] = int(enough.sum())
            elif n_lost:
                enough[-1] = True
                list(pool.map(partial(_mark, side=side, enough=enough, gone=gone), shares))
            side = 1 - side
    return np.concatenate([_positions(share, np.flatnonzero(share.codes[0] != gone[0])) for share in shares])


def _shares(user: Ints, item: Ints) -> list[_Share]:
    n_shares = max(1, min(os.cpu_count() or 1, _MOST_THREADS, len(user) // _EDGES_PER_THREAD))
    bounds = [len(user) * share // n_shares for share in range(n_shares + 1)]
    return [_Share((user[begin:end], item[begin:end]), begin) for begin, end in pairwise(bounds)]


def _degrees(share: _Share, side: int, n_codes: int) -> Places:
    return np.bincount(share.codes[side], minlength=n_codes)


def _positions(share: _Share, places: Places) -> Places:
    return share.position + places if isinstance(share.position, int) else share.position.take(places)


def _renumbered(share: _Share, side: int, enough: Mask, numbers: Ints) -> _Share:
    """The edges of the codes with enough, which become 0, 1, ...: counting is quick where codes lie close together."""
    kept = np.flatnonzero(enough.take(share.codes[side]))
    codes: list[Ints] = [codes.take(kept).astype(np.int32, copy=False) for codes in share.codes]
    codes[side] = numbers.take(codes[side])
    return _Share((codes[0], codes[1]), _positions(share, kept))


def _mark(share: _Share, side: int, enough: Mask, gone: list[int]) -> None:
    """Mark the edges of the codes without enough as gone, in place: they are few."""
    lost = np.flatnonzero(~enough.take(share.codes[side]))
    for codes, code in zip(share.codes, gone, strict=True):
        codes[lost] = code
