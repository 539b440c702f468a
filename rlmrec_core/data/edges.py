"""Interactions as arrays of integer codes: what filters and splits work on.

An edge costs 28 bytes however long its ids and its review are, so that tens of millions fit in memory.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rlmrec_core.data.errors import DataError
from rlmrec_core.tables import PARTS

Ints = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

NO_TIME = np.iinfo(np.int64).min
READY_UNSET = -1


@dataclass(frozen=True)
class Edges:
    """Parallel arrays, one entry per interaction, in the order of the raw data.

    row: position in the raw table; user, item: codes below `n_user_ids`, `n_item_ids`; rating: NaN where there is none;
    time: microseconds, NO_TIME where there is none; part: index into PARTS, READY_UNSET where prepare is to divide.
    """

    row: npt.NDArray[np.int64]
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    rating: npt.NDArray[np.float32]
    time: npt.NDArray[np.int64]
    part: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Mask | Ints) -> "Edges":
        """The chosen edges."""
        return Edges(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def with_parts(self, part: npt.NDArray[np.int8]) -> "Edges":
        """The same edges, divided."""
        return replace(self, part=part)


@dataclass(frozen=True)
class CodedInteractions:
    """Edges with the ids that their codes stand for: code c of a user is `user_ids[c]`."""

    edges: Edges
    user_ids: pa.Array
    item_ids: pa.Array


def code_interactions(interactions: ds.Dataset) -> CodedInteractions:
    """Read everything but the text, one column at a time so that only one column of ids is ever held as strings."""
    user, user_ids = _codes(interactions, "user_id")
    item, item_ids = _codes(interactions, "item_id")
    rating = _column(interactions, "rating").to_numpy().astype(np.float32, copy=False)
    time = pc.fill_null(_column(interactions, "timestamp").cast(pa.int64()), NO_TIME).to_numpy()
    part = _ready_made_parts(interactions)
    return CodedInteractions(Edges(np.arange(len(user)), user, item, rating, time, part), user_ids, item_ids)


def latest_of_duplicates(edges: Edges) -> Mask:
    """True for the edges to keep: of every (user, item) the one with the latest time, of equals the last one read."""
    keep = np.ones(len(edges), dtype=bool)
    pair = _pairs(edges)
    in_order = np.sort(pair)
    twice = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    if not len(twice):
        return keep
    suspects = np.flatnonzero(np.isin(pair, twice))
    ranked = suspects[np.lexsort((edges.time[suspects], pair[suspects]))]
    keep[ranked[:-1][pair[ranked[1:]] == pair[ranked[:-1]]]] = False
    return keep


def in_several_parts(edges: Edges) -> int:
    """How many (user, item) stand in more than one part."""
    of_parts = np.unique(_pairs(edges) * len(PARTS) + edges.part) // len(PARTS)
    return len(np.unique(of_parts[1:][of_parts[1:] == of_parts[:-1]]))


def n_distinct(codes: Ints) -> int:
    """How many codes occur."""
    return int(np.count_nonzero(np.bincount(codes)))


def _pairs(edges: Edges) -> npt.NDArray[np.int64]:
    """A number for each (user, item)."""
    return edges.user.astype(np.int64) * (int(edges.item.max(initial=0)) + 1) + edges.item


def _column(interactions: ds.Dataset, name: str) -> pa.ChunkedArray:
    return interactions.to_table(columns=[name]).column(0)


def _codes(interactions: ds.Dataset, name: str) -> tuple[npt.NDArray[np.int32], pa.Array]:
    encoded = _column(interactions, name).dictionary_encode().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # an empty column
        return np.zeros(0, np.int32), pa.array([], pa.string())
    return encoded.indices.to_numpy(), encoded.dictionary


def _ready_made_parts(interactions: ds.Dataset) -> npt.NDArray[np.int8]:
    column = _column(interactions, "part")
    if column.null_count == len(column):
        return np.full(len(column), READY_UNSET, dtype=np.int8)
    parts = pc.index_in(column, pa.array(PARTS, pa.string()))
    if parts.null_count:
        row = pc.index(pc.is_null(parts), True).as_py()
        problem = f"{column[row].as_py()!r} is not one of {', '.join(PARTS)}"
        way_out = "name a part for every interaction, or for none"
        raise DataError.at(problem, way_out, file="interactions", row=row + 1, column="part")
    codes: npt.NDArray[np.int8] = parts.to_numpy().astype(np.int8)
    return codes
