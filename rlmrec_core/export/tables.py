"""What an export holds, whatever its form."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from rlmrec_core.tables import vectors_table
from rlmrec_core.vectors import Float32Array, Vectors


class ExportError(RuntimeError):
    """An export that cannot be made: says where, why, and the way out."""


@dataclass(frozen=True)
class ExportTables:
    """The results of one run.

    data: name of the data set; model: which one the lists and vectors are of; written: when its lists were, ISO 8601;
    lists: schema RECOMMENDATIONS; user_ids, item_ids: the original ids in the order of the vectors' rows; titles: of
    the items, None where there is none; vectors: a score is the dot product of a user's and an item's; held_out:
    user_id and item_id of the test part, where lists may hold it.
    """

    data: str
    model: str
    written: str
    lists: pa.Table
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    titles: Sequence[str | None]
    vectors: Vectors
    held_out: pa.Table | None = None

    @property
    def users(self) -> pa.Table:
        """user_id, vector: list<float32>[d]."""
        return pa.table({"user_id": pa.array(self.user_ids, pa.string()), "vector": _column(self.vectors.users)})

    @property
    def items(self) -> pa.Table:
        """item_id, title?, vector: list<float32>[d]."""
        return pa.table(
            {
                "item_id": pa.array(self.item_ids, pa.string()),
                "title": pa.array(self.titles, pa.string()),
                "vector": _column(self.vectors.items),
            }
        )

    @property
    def about(self) -> dict[str, object]:
        """What an export is of."""
        width = self.vectors.items.shape[1]
        return {"data": self.data, "model": self.model, "written": self.written, "vector_size": width}


def _column(vectors: Float32Array) -> pa.ChunkedArray:
    return vectors_table(vectors)["vector"]
