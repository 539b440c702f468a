"""The profiles of an earlier run: kept for whoever changed too little to be asked about again."""

from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.tables import PROFILES, check


@dataclass(frozen=True, eq=False)
class Previous:
    """Profiles of an earlier run, to be kept where fewer than `threshold` parts of a source are new or changed.

    table: PROFILES. old_ids, ids: the original id of each row then and now, by dense id.
    Parts are compared with those that the profile was written from, so that small changes add up over refreshes.
    """

    table: pa.Table = field(repr=False)
    old_ids: pa.Array = field(repr=False)
    ids: pa.Array = field(repr=False)
    threshold: int

    def kept(self, now: int, parts: tuple[bytes, ...]) -> ProfileRow | None:
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
        """Row of each original id that has a profile of the model's own."""
        names = self.old_ids.take(self._table["id"].combine_chunks()).to_pylist()
        usable = zip(self._table["status"].to_pylist(), self._table["generator"].to_pylist(), strict=True)
        return {n: p for p, (n, known) in enumerate(zip(names, usable, strict=True)) if known == ("ok", "llm")}
