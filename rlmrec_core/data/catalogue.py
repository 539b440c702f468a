"""The set of known items: no id twice, no interaction with an item outside it."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.data import cells
from rlmrec_core.data.chunks import Chunk


class Catalogue:
    """The item ids of an items table. Raises DataError on building if an id occurs twice."""

    def __init__(self, chunks: Iterable[Chunk], column: str) -> None:
        self._known: set[str] = set()
        for chunk in chunks:
            self._add(chunk, column)

    def require(self, chunk: Chunk, column: str, item_ids: pa.Array) -> None:
        """Raise DataError at the first of `item_ids`, cells of `column`, that is not a known item."""
        unknown = set(pc.unique(item_ids).to_pylist()) - self._known
        if unknown:
            position = pc.index(pc.is_in(item_ids, pa.array(sorted(unknown))), True).as_py()
            problem = f"item {item_ids[position].as_py()!r} is not in the items table"
            raise chunk.error(column, position, problem, "add the item there, or drop the row")

    def _add(self, chunk: Chunk, column: str) -> None:
        for position, item_id in enumerate(cells.ids(chunk, column).to_pylist()):
            if item_id in self._known:
                raise chunk.error(column, position, f"item {item_id!r} occurs twice", "keep one row per item")
            self._known.add(item_id)
