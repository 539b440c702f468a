"""The profiles of an earlier run: kept for whoever changed too little to be asked about again."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.tables import PROFILES, check


@dataclass(frozen=True, eq=False)
class Previous:
    """Profiles of an earlier run, to be kept where fewer than `threshold` parts of a source are new or changed.

    table: PROFILES. old_ids, ids: the original id of each row then and now, by dense id. train_pairs: of the split now.
    A profile is kept only if every pair that it was written from, be it by way of an item's profile, is train now: no
    text of what has become validation or test, or was taken back, lives on in it.
    Parts are compared with those that the profile was written from, so that small changes add up over refreshes.
    """

    table: pa.Table = field(repr=False)
    old_ids: pa.Array = field(repr=False)
    ids: pa.Array = field(repr=False)
    train_pairs: npt.NDArray[np.int64] = field(repr=False)
    threshold: int

    def kept(self, now: int, parts: tuple[int, ...]) -> ProfileRow | None:
        """The earlier profile of whoever is `now` in this run; None if it should be written anew."""
        place = self._place_of.get(self.ids[now].as_py())
        if place is None:
            return None
        written_from = set(self._table["source_parts"][place].as_py() or ())
        if not written_from or sum(part not in written_from for part in parts) >= self.threshold:
            return None
        row = self._table.slice(place, 1).to_pylist()[0]
        return ProfileRow.of(row | {"id": now})

    @cached_property
    def _table(self) -> pa.Table:
        return check(self.table, PROFILES, "earlier profiles").combine_chunks()

    @cached_property
    def _place_of(self) -> dict[str, int]:
        """Row of each original id that has a profile of the model's own, written from what is train now."""
        names = self.old_ids.take(self._table["id"].combine_chunks()).to_pylist()
        own = pc.and_(pc.equal(self._table["status"], "ok"), pc.equal(self._table["generator"], "llm"))
        usable = own.to_numpy(zero_copy_only=False) & ~self._written_from_other()
        return {names[place]: int(place) for place in np.flatnonzero(usable)}

    def _written_from_other(self) -> npt.NDArray[np.bool_]:
        """True for the rows written from a pair that is not train now, or from pairs unknown."""
        pairs = self._table["source_pairs"].combine_chunks()
        other: npt.NDArray[np.bool_] = pairs.is_null().to_numpy(zero_copy_only=False).copy()
        is_train = np.isin(pairs.flatten().to_numpy(zero_copy_only=False), self.train_pairs)
        other[pc.list_parent_indices(pairs).to_numpy(zero_copy_only=False)[~is_train]] = True
        return other
