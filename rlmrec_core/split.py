"""The divided interactions as arrays: what training and evaluation read."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rlmrec_core import tables

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


class Edges(NamedTuple):
    """Interactions of one part, ordered by user, then item. user, item: (n,)."""

    user: Int32Array
    item: Int32Array


@dataclass(frozen=True)
class Split:
    """Train, validation and test interactions between `n_users` users and `n_items` items, both numbered from 0."""

    n_users: int
    n_items: int
    train: Edges
    validation: Edges
    test: Edges

    @classmethod
    def from_table(cls, table: pa.Table, n_users: int, n_items: int) -> "Split":
        """Read a split table; its row order does not matter.

        Raises tables.TableError on a wrong schema, an id out of range, an unknown part, a pair listed twice or an
        empty train part.
        """
        table = tables.check(table.select(["user", "item", "part"]), _COLUMNS, "split")
        user, item = table["user"].to_numpy(), table["item"].to_numpy()
        part = np.asarray(table["part"].to_pylist(), dtype=object)
        _check_ids(user, n_users, "user")
        _check_ids(item, n_items, "item")
        _check_parts(part)
        key = pair_keys(user, item, n_items)
        if len(np.unique(key)) < len(key):
            raise tables.TableError(
                "split: some (user, item) pairs are listed twice; prepare keeps one of each, rerun it"
            )
        order = np.argsort(key)
        user, item, part = user[order], item[order], part[order]
        train, validation, test = (Edges(user[part == name], item[part == name]) for name in _PARTS)
        return cls(n_users, n_items, train, validation, test)

    def all_in_train(self) -> "Split":
        """The same interactions, none held out: what a model that is no longer measured may learn from."""
        parts = (self.train, self.validation, self.test)
        user, item = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((item, user))
        nothing = Edges(user[:0], item[:0])
        return Split(self.n_users, self.n_items, Edges(user[order], item[order]), nothing, nothing)

    def with_noise(self, share: float, seed: int) -> "Split":
        """The same with false pairs among those of train, `share` of their number (RLMRec, section 4.4 and figure 5).

        They are drawn uniformly, each once, from the pairs that no part has. Raises ValueError if these are too few.
        """
        n = round(share * len(self.train.user))
        known = np.sort(pair_keys(*self.all_in_train().train, self.n_items))
        n_free = self.n_users * self.n_items - len(known)
        if n > n_free:
            raise ValueError(
                f"{n:,} false pairs are wanted, and only {n_free:,} pairs are not known: lower train.noise"
            )
        rng, false = np.random.default_rng(seed), np.zeros(0, np.int64)
        while len(false) < n:
            drawn = rng.integers(self.n_users * self.n_items, size=max(1024, 2 * n))
            unknown = drawn[known[np.searchsorted(known, drawn).clip(max=len(known) - 1)] != drawn]
            both = np.concatenate([false, unknown])
            false = both[np.sort(np.unique(both, return_index=True)[1])]  # in the order in which they were drawn
        keys = np.sort(np.concatenate([pair_keys(*self.train, self.n_items), false[:n]]))
        user, item = (column.astype(np.int32) for column in np.divmod(keys, self.n_items))
        return Split(self.n_users, self.n_items, Edges(user, item), self.validation, self.test)

    def knowing(self, user: npt.NDArray[np.integer], item: npt.NDArray[np.integer]) -> "Split":
        """The same with these pairs among those of train, each once, but for those that are held out."""
        held_out = np.concatenate([pair_keys(*part, self.n_items) for part in (self.validation, self.test)])
        added = np.setdiff1d(pair_keys(user, item, self.n_items), held_out)
        keys = np.union1d(pair_keys(*self.train, self.n_items), added)
        users, items = (column.astype(np.int32) for column in np.divmod(keys, self.n_items))
        return Split(self.n_users, self.n_items, Edges(users, items), self.validation, self.test)

    def train_popularity(self) -> Int64Array:
        """Train interactions of each item: (n_items,)."""
        return np.bincount(self.train.item, minlength=self.n_items).astype(np.int64)


_PARTS = ("train", "validation", "test")
_COLUMNS = pa.schema([tables.SPLIT.field(name) for name in ("user", "item", "part")])


def pair_keys(user: npt.NDArray[np.integer], item: npt.NDArray[np.integer], n_items: int) -> Int64Array:
    """One integer per (user, item) pair, ordered by user, then item."""
    return user.astype(np.int64) * n_items + item


def _check_ids(ids: Int32Array, size: int, name: str) -> None:
    if len(ids) and not (ids.min() >= 0 and ids.max() < size):
        raise tables.TableError(f"split: column {name!r} spans {ids.min()} to {ids.max()}, expected 0 to {size - 1}")


def _check_parts(part: npt.NDArray[np.object_]) -> None:
    unknown = sorted(set(part) - set(_PARTS))
    if unknown:
        raise tables.TableError(f"split: unknown part {unknown[0]!r}; choose among {', '.join(_PARTS)}")
    if "train" not in part:
        raise tables.TableError("split: no train interactions; check the ratios of prepare")
