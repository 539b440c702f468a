"""Groups of users by how much they took, and of items by how often they were taken."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rlmrec_core.ranking.by_user import Columns, Ranked, by_user
from rlmrec_core.split import Edges, Int64Array, Split


class Group(NamedTuple):
    """Users or items with between `at_least` and `at_most` train interactions.

    members: bool, one for each user or item.
    """

    name: str
    at_least: int
    at_most: int
    members: npt.NDArray[np.bool_]


class Groups(NamedTuple):
    """All groups of a split."""

    users: list[Group]
    items: list[Group]


def user_groups(split: Split) -> list[Group]:
    """Users without a train interaction, then thirds of the others by how many they have: cold, low, middle, high."""
    counts = np.bincount(split.train.user, minlength=split.n_users).astype(np.int64)
    return _groups(counts, ("low", "middle", "high"), np.ones_like(counts))


def item_groups(split: Split) -> list[Group]:
    """Items without a train interaction, then three groups that share the train interactions: cold, tail, middle, head.

    Each holds about a third of the interactions, as in SGL (Wu et al., SIGIR 2021, section 4.3.1), which has ten.
    """
    counts = split.train_popularity()
    return _groups(counts, ("tail", "middle", "head"), counts)


def grouped(ranked: Ranked, held_out: Edges, columns: Columns, groups: Groups) -> Iterator[tuple[str, Group, Columns]]:
    """Each group that anybody with a held-out item belongs to: what it goes by, the group, and its users' values.

    Of a group of users, the rows of `columns` that are theirs. Of a group of items, the measures with only its items
    held out, for the users who have any of them.
    """
    users = np.unique(held_out.user)
    for group in groups.users:
        mine = group.members[users]
        if mine.any():
            yield "user_activity", group, {name: values[mine] for name, values in columns.items()}
    for group in groups.items:
        hits = ranked.against(Edges(*(side[group.members[held_out.item]] for side in held_out)))
        if len(hits.users):
            names, ks = (dict.fromkeys(column) for column in zip(*columns, strict=True))
            yield "item_popularity", group, by_user(ranked, hits, names, ks)


def _groups(counts: Int64Array, names: tuple[str, str, str], weights: Int64Array) -> list[Group]:
    """Members with the same count stay together, so that a group may be larger than its share, or missing.

    weights: what the groups share evenly.
    """
    known = np.sort(counts[counts > 0])
    order = np.argsort(counts, kind="stable")
    shared = weights[order][counts[order] > 0].cumsum()
    cuts = [int(known[np.searchsorted(shared, shared[-1] * third / 3)]) for third in (1, 2)] if len(known) else [0, 0]
    bounds = [0, *cuts, int(counts.max(initial=0))]
    found = [Group("cold", 0, 0, counts == 0)]
    for name, below, at_most in zip(names, bounds[:-1], bounds[1:], strict=True):
        found.append(Group(name, below + 1, at_most, (counts > below) & (counts <= at_most)))
    return [group for group in found if group.members.any()]
