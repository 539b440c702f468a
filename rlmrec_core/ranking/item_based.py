"""Baselines that rank by weights between items: ItemKNN, and EASE in closed form. Neither knows of a text."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import torch

from rlmrec_core.config.ranking import EvaluateConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.top_k import Ranker, Ranking
from rlmrec_core.split import Split
from rlmrec_core.vectors import Float32Array

ITEM_KNN = ModelId("item_knn", "item_knn", 0)
EASE = ModelId("ease", "ease", 0)

ItemWeights: TypeAlias = sp.csr_matrix | Float32Array
"""(n_items, n_items): what each item of a user's, in the rows, adds to the score of each item, in the columns."""

_BLOCK_PRODUCTS = 1 << 22
"""Products of pairs of items that are summed up at once, about 100 MB."""


def item_based(split: Split, config: EvaluateConfig) -> Iterator[tuple[ModelId, ItemWeights]]:
    """The weights of every baseline of `config.baselines`, one after the other; EASE only where `ease_left_out` is
    silent.
    """
    if "item_knn" in config.baselines:
        yield ITEM_KNN, item_knn(split, config.knn_neighbours)
    if "ease" in config.baselines and not ease_left_out(split, config):
        yield EASE, ease(split, config.ease_l2)


def ease_left_out(split: Split, config: EvaluateConfig) -> str:
    """Why EASE is not measured, and the way out; empty where it is, or was not asked for."""
    if "ease" not in config.baselines or split.n_items <= config.ease_max_items:
        return ""
    gigabytes = 2 * 4 * split.n_items**2 / 1e9
    return (
        f"EASE is left out: it inverts a matrix of {split.n_items:,} x {split.n_items:,} items, which takes "
        f"{gigabytes:.1f} GB of memory, and time that grows with the cube; evaluate.ease_max_items={split.n_items} "
        f"measures it (now {config.ease_max_items:,})"
    )


def item_knn(split: Split, n_neighbours: int) -> sp.csr_matrix:
    """Cosines of each item with the items most alike to it by who took them (Deshpande and Karypis, TOIS 2004).

    An item's score is the sum of the cosines of its neighbours among the user's items. Among equally near ones the
    lower id is a neighbour first.
    """
    unit = _taken(split).astype(np.float32)
    lengths = np.sqrt(np.maximum(split.train_popularity(), 1))
    unit = sp.csr_matrix(unit @ sp.diags(1 / lengths.astype(np.float32)))
    by_item = sp.csr_matrix(unit.T)
    # How many products the row of an item takes: the lengths of its users' histories.
    costs = np.cumsum((by_item != 0) @ np.bincount(split.train.user, minlength=split.n_users))
    bounds = np.unique(np.searchsorted(costs, np.arange(0, costs[-1] + _BLOCK_PRODUCTS, _BLOCK_PRODUCTS)))
    blocks = [
        _nearest(sp.csr_matrix(by_item[start:stop] @ unit), start, n_neighbours)
        for start, stop in zip([0, *bounds[1:]], [*bounds[1:], split.n_items], strict=True)
        if stop > start
    ]
    return sp.csr_matrix(sp.vstack(blocks, format="csr").T)


def _nearest(cosines: sp.csr_matrix, first: int, n_neighbours: int) -> sp.csr_matrix:
    """The largest entries of every row, the item itself (row r is item `first` + r) left out."""
    rows = np.repeat(np.arange(cosines.shape[0]), np.diff(cosines.indptr))
    others = cosines.indices != rows + first
    rows, columns, values = rows[others], cosines.indices[others], cosines.data[others]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    starts = np.searchsorted(rows, np.arange(cosines.shape[0]))
    kept = np.arange(len(rows)) - starts[rows] < n_neighbours
    return sp.csr_matrix((values[kept], (rows[kept], columns[kept])), cosines.shape)


def ease(split: Split, l2: float) -> Float32Array:
    """Weights between items by ridge regression, zero on the diagonal (Steck, WWW 2019, equation 8).

    With P = (X^T X + l2 I)^-1 the weight of item i on item j is -P_ij / P_jj. Holds two matrices of n_items^2 float32.
    """
    taken = _taken(split)
    gram = torch.from_numpy((taken.T @ taken).toarray().astype(np.float32))
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse.div_(-inverse.diagonal().clone())
    weights.fill_diagonal_(0)
    found: Float32Array = weights.numpy()
    return found


def top_k_by_items(split: Split, weights: ItemWeights, k: int, known: Split | None = None) -> Ranking:
    """The k best items of every user by the sum of the weights of their train items, which are left out.

    known: has in train what is left out in their place.
    """
    taken = _taken(split).astype(np.float32)

    def write(users: slice, out: torch.Tensor) -> None:
        found = taken[users] @ weights
        out.copy_(torch.from_numpy(found.toarray() if sp.issparse(found) else found))

    ranked, values = Ranker(split.n_users, (known or split).train).rank_by(write, split.n_users, split.n_items, k)
    return Ranking(ranked.int().numpy(), values.numpy())


def _taken(split: Split) -> sp.csr_matrix:
    """The 0/1 matrix of train interactions, (n_users, n_items)."""
    ones: npt.NDArray[np.int32] = np.ones(len(split.train.user), np.int32)
    return sp.csr_matrix((ones, (split.train.user, split.train.item)), (split.n_users, split.n_items))
