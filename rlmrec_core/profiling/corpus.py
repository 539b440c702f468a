"""The training part of a data set: the only thing that prompts and profiles may be made from."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data.draws import Draws
from rlmrec_core.tables import ITEM_INDEX, ITEMS, SPLIT, USER_INDEX, check

Rows = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32]
_COLUMNS = ["user", "item", "rating", "review"]


class SplitLeakage(ValueError):
    """Text written from another split: it may have seen what is now validation or test."""


@dataclass(frozen=True, eq=False)
class TrainCorpus:
    """Train interactions with their reviews, and what is known of the items; made by `build` and by nothing else.

    Validation and test rows are dropped before anything is read from them, so that no prompt can hold their reviews
    or tell a user's held-out items (RLMRec's most asked question; section 4.1).
    """

    split_hash: str
    user_ids: pa.Array
    item_ids: pa.Array
    _train: pa.Table = field(repr=False)
    _texts: pa.Table = field(repr=False)

    @classmethod
    def build(cls, split: pa.Table, user_index: pa.Table, item_index: pa.Table, items: pa.Table) -> "TrainCorpus":
        """Keep the train rows of `split`, ordered by user and item; row i of the texts is item i.

        An item that `items` does not describe has no text. Raises TableError if a table misses a column.
        """
        split = check(split, SPLIT, "split")
        train = split.filter(pc.equal(split["part"], "train")).select(_COLUMNS)
        train = train.sort_by([("user", "ascending"), ("item", "ascending")]).combine_chunks()
        user_ids = check(user_index, USER_INDEX, "user_index").sort_by("user")["user_id"].combine_chunks()
        item_ids = check(item_index, ITEM_INDEX, "item_index").sort_by("item")["item_id"].combine_chunks()
        items = check(items, ITEMS, "items")
        texts = items.take(pc.index_in(item_ids, value_set=items["item_id"].combine_chunks())).combine_chunks()
        return cls(_split_hash(train, user_ids, item_ids), user_ids, item_ids, train, texts)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)

    def rows_of_user(self, user: int) -> Rows:
        """Train rows of one user, in the order of items."""
        return np.arange(self._user_ptr[user], self._user_ptr[user + 1])

    def rows_of_item(self, item: int) -> Rows:
        """Train rows of one item, in the order of users."""
        return self._by_item[self._item_ptr[item] : self._item_ptr[item + 1]]

    @cached_property
    def users(self) -> Ids:
        """The user of each train row."""
        users: Ids = self._train["user"].to_numpy()
        return users

    @cached_property
    def items(self) -> Ids:
        """The item of each train row."""
        items: Ids = self._train["item"].to_numpy()
        return items

    @cached_property
    def pairs(self) -> Rows:
        """A hash of the user's and the item's id for each train row, the same in every run."""
        return Draws(self.user_ids, self.item_ids, seed=0).pairs("train", self.users, self.items).view(np.int64)

    def rating(self, row: int) -> float | None:
        """The rating of a train row; None where there is none."""
        rating: float | None = self._train["rating"][row].as_py()
        return rating

    def review(self, row: int) -> str | None:
        """The review of a train row; None where it is absent or blank."""
        return _text(self._reviews[row])

    def title(self, item: int) -> str | None:
        return _text(self._titles[item])

    def description(self, item: int) -> str | None:
        return _text(self._descriptions[item])

    def attributes(self, item: int) -> tuple[tuple[str, str], ...]:
        """Names and values of what is known of an item, without blanks."""
        pairs = self._attributes[item].as_py() or []
        return tuple((a["name"], a["value"].strip()) for a in pairs if a["name"] and (a["value"] or "").strip())

    @cached_property
    def _reviews(self) -> pa.Array:
        return self._train["review"].combine_chunks()

    @cached_property
    def _titles(self) -> pa.Array:
        return self._texts["title"].combine_chunks()

    @cached_property
    def _descriptions(self) -> pa.Array:
        return self._texts["description"].combine_chunks()

    @cached_property
    def _attributes(self) -> pa.Array:
        return self._texts["attributes"].combine_chunks()

    @cached_property
    def _user_ptr(self) -> Rows:
        return np.searchsorted(self.users, np.arange(self.n_users + 1))

    @cached_property
    def _by_item(self) -> Rows:
        return np.argsort(self.items, kind="stable")

    @cached_property
    def _item_ptr(self) -> Rows:
        return np.searchsorted(self.items[self._by_item], np.arange(self.n_items + 1))


def _text(value: pa.Scalar) -> str | None:
    return (value.as_py() or "").strip() or None


def _split_hash(train: pa.Table, user_ids: pa.Array, item_ids: pa.Array) -> str:
    """sha256 over the train edges, their reviews and the ids they stand for."""
    digest = hashlib.sha256()
    for column in (train["user"], train["item"]):
        digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    for texts in (train["review"].combine_chunks(), user_ids, item_ids):
        lengths = pc.fill_null(pc.binary_length(texts), -1)
        digest.update(np.ascontiguousarray(lengths.to_numpy(zero_copy_only=False)).tobytes())
        for text in texts:
            digest.update((text.as_py() or "").encode())
    return digest.hexdigest()
