"""How long the texts of interactions and items are, read only where a filter asks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

Lengths = npt.NDArray[np.int32]


@dataclass(frozen=True)
class TextLengths:
    """Lengths in characters; what is missing has length 0."""

    _interactions: ds.Dataset
    _items: ds.Dataset
    _item_ids: pa.Array

    def reviews(self) -> Lengths:
        """(n_interactions,) of the raw table's reviews, in its order."""
        batches = self._interactions.to_batches(columns=["review"], batch_readahead=2, fragment_readahead=1)
        return np.concatenate([np.zeros(0, np.int32), *(lengths_of(batch.column("review")) for batch in batches)])

    def items(self) -> Lengths:
        """(n_item_ids,) of title and description together."""
        known, lengths = [], [np.zeros(0, np.int32)]
        for batch in self._items.to_batches(columns=["item_id", "title", "description"]):
            known.append(batch.column("item_id"))
            lengths.append(lengths_of(batch.column("title")) + lengths_of(batch.column("description")))
        position = pc.index_in(self._item_ids, value_set=pa.chunked_array(known, pa.string()).combine_chunks())
        # The length at the end is that of items without an entry.
        at = pc.fill_null(position, -1).to_numpy(zero_copy_only=False)
        total: Lengths = np.concatenate([*lengths, np.zeros(1, np.int32)])[at]
        return total


def lengths_of(texts: pa.Array) -> Lengths:
    """Characters of each text."""
    lengths: Lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    return lengths
