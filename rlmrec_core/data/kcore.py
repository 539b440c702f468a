"""The k-core of a bipartite graph, by peeling."""

import numpy as np
import numpy.typing as npt

from rlmrec_core.data.edges import Ints


def k_core(user: Ints, item: Ints, k_user: int, k_item: int) -> npt.NDArray[np.int64]:
    """Positions, ascending, of the edges in which every user has at least k_user edges and every item k_item.

    user, item: (n_edges,) codes from 0, each pair once. The result is the largest such set; it may be empty.
    Degrees are counted once and then lowered by the edges that a round removes, so that a round costs one look at
    the surviving edges: the rounds that peel a few edges each are cheap.
    """
    alive = np.arange(len(user))
    user_degree, item_degree = np.bincount(user), np.bincount(item)
    while True:
        keep = (user_degree[user] >= k_user) & (item_degree[item] >= k_item)
        if keep.all():
            return alive
        user_degree -= np.bincount(user[~keep], minlength=len(user_degree))
        item_degree -= np.bincount(item[~keep], minlength=len(item_degree))
        alive, user, item = alive[keep], user[keep], item[keep]
