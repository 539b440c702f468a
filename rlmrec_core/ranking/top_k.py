"""Ranking every item for every user, in chunks of users: the step that evaluation and recommendation share."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rlmrec_core.device import opened, policy, within_memory
from rlmrec_core.split import Edges, Int32Array, Split
from rlmrec_core.tables import RECOMMENDATIONS
from rlmrec_core.vectors import Float32Array

PADDING = -1
"""Stands in a list for the items that a user does not have left."""

_CHUNK_USERS = 32
"""Users ranked at once at least, however many items: each chunk reads all the items' vectors."""

_TABLE_ROWS = 1 << 20
"""Rows of lists in one piece: the texts of a piece must stay under 2 GiB."""

_BLOCK = 16
"""Items of which the best stands for all when candidates are looked for."""


class Ranking(NamedTuple):
    """The best items of each user, best first.

    items: (n_users, k) int32, PADDING where none is left; scores: (n_users, k) float32, -inf there.
    """

    items: Int32Array
    scores: Float32Array


def top_k(
    split: Split,
    user_vectors: Float32Array,
    item_vectors: Float32Array,
    k: int,
    exclude: Literal["train", "all"] = "train",
    *,
    device: str = "cpu",
) -> Ranking:
    """The k best items of every user by dot product, known ones left out: those of train, or of every part.

    Raises ValueError if vectors and split disagree on the number of users or items, or on the vectors' width,
    DeviceMissing and DeviceFull where the device is not there or too small.
    """
    _check_shapes(split, user_vectors, item_vectors)
    here = opened(device)
    ranker = Ranker(split.n_users, known_pairs(split, exclude), here)
    users, items = (torch.from_numpy(np.ascontiguousarray(side)).to(here) for side in (user_vectors, item_vectors))
    ranked, scores = ranker.rank(users, items, k)
    return Ranking(ranked.int().cpu().numpy(), scores.cpu().numpy())


def as_table(
    ranking: Ranking, user_ids: pa.ChunkedArray, item_ids: pa.ChunkedArray, titles: pa.ChunkedArray
) -> pa.Table:
    """The lists as rows of RECOMMENDATIONS, ranks from 1; padding left out.

    user_ids, item_ids, titles: by number.
    """
    every_user, every_place = np.nonzero(ranking.items != PADDING)

    def part(rows: slice) -> pa.Table:
        user, place = every_user[rows], every_place[rows]
        item = ranking.items[user, place]
        columns = [
            user_ids.take(user),
            pa.array(place + 1, pa.int32()),
            item_ids.take(item),
            titles.take(item),
            pa.array(ranking.scores[user, place]),
        ]
        return pa.table(columns, schema=RECOMMENDATIONS)

    starts = range(0, max(len(every_user), 1), _TABLE_ROWS)
    return pa.concat_tables([part(slice(start, start + _TABLE_ROWS)) for start in starts])


class Ranker:
    """Ranks with the known items of each user left out; holds them ready for one evaluation after another."""

    def __init__(self, n_users: int, known: Edges, device: torch.device | str = "cpu") -> None:
        """known: pairs to leave out, ordered by user."""
        counts = np.bincount(known.user, minlength=n_users)
        self._offsets = [0, *np.cumsum(counts).tolist()]
        self._user = torch.from_numpy(known.user).long().to(device)
        self._item = torch.from_numpy(known.item).long().to(device)

    def rank(self, users: Tensor, items: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The best k items of every user and their scores, (n_users, k); PADDING and -inf where none is left.

        users: (n_users, D); items: (n_items, D).
        """

        def write(part: slice, out: Tensor) -> None:
            torch.mm(users[part], items.T, out=out)

        return self.rank_by(write, len(users), len(items), k)

    def rank_by(
        self, write: Callable[[slice, Tensor], object], n_users: int, n_items: int, k: int
    ) -> tuple[Tensor, Tensor]:
        """The same by any scores. write: puts those of the users of a slice into a tensor, (n, n_items) float32."""
        return within_memory(self._user.device, lambda: self._rank_by(write, n_users, n_items, k))

    def _rank_by(
        self, write: Callable[[slice, Tensor], object], n_users: int, n_items: int, k: int
    ) -> tuple[Tensor, Tensor]:
        kept, device = min(k, n_items), self._user.device
        ranked = torch.full((n_users, k), PADDING, device=device)
        scores = torch.full((n_users, k), -torch.inf, device=device)
        rows = min(max(_CHUNK_USERS, policy(device).scores // n_items), max(n_users, 1))
        # Allocated once: what fills up the last blocks is never overwritten.
        chunk = torch.full((rows, _BLOCK, -(-n_items // _BLOCK)), -torch.inf, device=device)
        for start in range(0, n_users, rows):
            stop = min(start + rows, n_users)
            write(slice(start, stop), chunk.flatten(1)[: stop - start, :n_items])
            known = slice(self._offsets[start], self._offsets[stop])
            chunk.flatten(1)[self._user[known] - start, self._item[known]] = -torch.inf
            values, found = _top_k(chunk[: stop - start], kept)
            scores[start:stop, :kept] = values
            ranked[start:stop, :kept] = found.where(values > -torch.inf, PADDING)
        return ranked, scores


def _top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best scores of each row and their places, best first: looked for in the k blocks with the best maximum.

    scores: (n, _BLOCK, blocks), where a block is a column; a place counts through the two last dimensions.
    """
    _, size, blocks = scores.shape
    best = scores.amax(1).topk(min(k, blocks), sorted=False).indices
    places = (best.unsqueeze(1) + blocks * torch.arange(size, device=scores.device).unsqueeze(1)).flatten(1)
    values, order = scores.flatten(1).gather(1, places).topk(k)
    return values, places.gather(1, order)


def known_pairs(split: Split, exclude: Literal["train", "all"]) -> Edges:
    """The pairs that lists leave out, ordered by user: those of train, or of every part."""
    return split.train if exclude == "train" else split.all_in_train().train


def _check_shapes(split: Split, users: Float32Array, items: Float32Array) -> None:
    found, expected = (len(users), len(items)), (split.n_users, split.n_items)
    if found != expected:
        raise ValueError(f"vectors of {found} users and items for a split of {expected}: they belong to another split")
    if users.shape[1] != items.shape[1]:
        raise ValueError(f"user vectors have {users.shape[1]} components, item vectors {items.shape[1]}")
