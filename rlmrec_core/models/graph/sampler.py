"""Batches of train pairs with uniform negatives."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rlmrec_core.device import policy
from rlmrec_core.models.graph.backbones import Batch
from rlmrec_core.split import Split


class PairSampler:
    """Train pairs in random order, each with one item its user has not in train, drawn afresh every epoch.

    A user who has every item in train is left out: there is no item to compare theirs with.
    """

    def __init__(self, split: Split, batch_size: int, device: torch.device | str = "cpu") -> None:
        """Raises ValueError if every user has every item in train, since no negative is left."""
        self.batch_size, self.n_items = batch_size, split.n_items
        full = np.bincount(split.train.user, minlength=split.n_users) >= split.n_items
        sampled = ~full[split.train.user]
        if not sampled.any():
            raise ValueError("every user has every item in train: no negative is left to sample")
        self.user = torch.from_numpy(split.train.user[sampled]).long().to(device)
        self.item = torch.from_numpy(split.train.item[sampled]).long().to(device)
        self._known = self.user * split.n_items + self.item
        self.n_users = split.n_users

    def epoch(self, generator: torch.Generator, *, negatives: bool = True) -> Iterator[Batch]:
        """Every train pair once, the last batch possibly smaller."""
        order = torch.randperm(len(self.user), generator=generator, device=self.user.device)
        users, positives = self.user[order], self.item[order]
        drawn = self.negatives(order, generator) if negatives else None
        for start in range(0, len(order), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(users[part], positives[part], None if drawn is None else drawn[part])

    def negatives(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """One item for every train pair, uniform over those its user has not in train.

        order: (n_pairs,) int64, the pairs' rows in the train part. Returns (n_pairs,) int64.
        """
        if policy(order.device).asynchronous:
            return self._of_absent(self.user[order], generator)
        drawn = torch.randint(self.n_items, order.shape, generator=generator, device=order.device)
        # The first draws are looked up in the order of the keys: at random most searches would leave the cache.
        by_pair = torch.empty_like(drawn).index_copy_(0, order, drawn)
        rejected = self._is_known(self.user, by_pair)[order].nonzero().squeeze(1)
        while len(rejected):
            items = torch.randint(self.n_items, rejected.shape, generator=generator, device=order.device)
            drawn[rejected] = items
            rejected = rejected[self._is_known(self.user[order[rejected]], items)]
        return drawn

    def _of_absent(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform item of those that each user does not have, drawn by its place among them: nothing is rejected."""
        starts, absent = self._by_user
        drawn = torch.randint(1 << 62, users.shape, generator=generator, device=users.device)
        place = drawn % (self.n_items - (starts[users + 1] - starts[users]))
        # As many of their own items come before it as have no more absent ones before them.
        wanted = users * (self.n_items + 1) + place
        return place + torch.searchsorted(absent, wanted, right=True) - starts[users]

    @cached_property
    def _by_user(self) -> tuple[Tensor, Tensor]:
        """Where the pairs of each user begin, (n_users + 1,), and, ascending, user * (n_items + 1) plus the number of
        items before a pair's own that its user does not have, (n_pairs,).
        """
        pairs = torch.arange(len(self.user), device=self.user.device)
        starts = torch.searchsorted(self.user, torch.arange(self.n_users + 1, device=self.user.device))
        return starts, self.user * (self.n_items + 1) + self.item - (pairs - starts[self.user])

    def _is_known(self, users: Tensor, items: Tensor) -> Tensor:
        wanted = users * self.n_items + items
        place = torch.searchsorted(self._known, wanted).clamp_(max=len(self._known) - 1)
        return self._known[place] == wanted
