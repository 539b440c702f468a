"""One trained model at the ready: it answers one question at a time, exactly, with one product over all items."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from rlmrec_core.split import Edges
from rlmrec_core.vectors import Float32Array, Vectors


class Answer(NamedTuple):
    """Items, best first, with their scores; fewer than asked for where no more are left."""

    items: npt.NDArray[np.int64]
    scores: Float32Array


class Recommender:
    """Lists for known users, for people of whom a few items are known, and items that are alike.

    Its memory is that of the vectors, once more for the items at unit length. Safe to share between threads: nothing
    changes after it is made.
    """

    def __init__(self, vectors: Vectors, known: Edges) -> None:
        """vectors: users (n_users, D), items (n_items, D); known: pairs left out of users' lists, ordered by user."""
        self._users, self._items = (np.ascontiguousarray(side, dtype=np.float32) for side in vectors)
        lengths = np.linalg.norm(self._items, axis=1, keepdims=True)
        self._unit = self._items / np.where(lengths > 0, lengths, 1)
        self._known = np.asarray(known.item)
        self._offsets = np.concatenate([[0], np.cumsum(np.bincount(known.user, minlength=len(self._users)))])
        popularity = np.bincount(known.item, minlength=len(self._items))
        self._weights = (1 / np.sqrt(np.maximum(popularity, 1))).astype(np.float32)

    def known(self, user: int) -> npt.NDArray[np.int32]:
        """Items that are left out of a user's list, (n,)."""
        return self._known[self._offsets[user] : self._offsets[user + 1]]

    def for_user(self, user: int, k: int) -> Answer:
        """The k best items of a user by dot product, known ones left out."""
        return _best(self._items @ self._users[user], k, self.known(user))

    def for_items(self, items: Sequence[int], k: int) -> Answer:
        """The k best items of somebody new who has these: the list of a user folded in, without a new training.

        Their vector is the mean of the items' vectors, each divided by the root of how often it was taken: what the
        first layer of LightGCN (He et al., SIGIR 2020, equation 3) makes of a user, up to a factor that moves no rank.
        Raises ValueError without an item.
        """
        if not len(items):
            raise ValueError("a list for somebody new needs one item at least")
        chosen = np.unique(np.asarray(items))
        vector = self._weights[chosen] @ self._items[chosen] / len(chosen)
        return _best(self._items @ vector, k, chosen)

    def for_vector(self, vector: Float32Array, k: int) -> Answer:
        """The k best items for somebody at a place in the model's space, (D,)."""
        return _best(self._items @ vector, k, np.zeros(0, np.int64))

    def similar(self, item: int, k: int) -> Answer:
        """The k items whose vectors have the highest cosine with that of `item`, itself left out."""
        return _best(self._unit @ self._unit[item], k, np.asarray([item]))


def _best(scores: Float32Array, k: int, left_out: npt.NDArray[np.integer]) -> Answer:
    """The k highest scores and their places; among equal ones the order is not specified."""
    scores[left_out] = -np.inf
    values, places = torch.from_numpy(scores).topk(min(k, len(scores)))
    left = int((values > -torch.inf).sum())
    return Answer(places[:left].numpy(), values[:left].numpy())
