"""Ready-made parts with the texts of the release that they were made from.

RLMRec's authors publish their parts with numbers for users and items, and files that map the numbers to the ids of the
release. With both, and the release, the parts have titles, descriptions, ratings, times and reviews again, so that they
can be profiled anew. Users and items keep their numbers.
"""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config.data import IngestConfig
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import explained
from rlmrec_core.data.raw import RawReader
from rlmrec_core.data.reader import Reader
from rlmrec_core.data.vector_files import Side
from rlmrec_core.tables import INTERACTIONS

_NUMBER = {"item": "iid", "user": "uid"}
_TEXTS = ("rating", "timestamp", "review")
_OTHER = "take the mapping of this data set, and the release that it is of"


class JoinedReader(Reader):
    """The parts of one reader, the texts of another."""

    def __init__(self, config: IngestConfig, parts: Reader) -> None:
        super().__init__(config)
        chosen = config.raw
        others = {"reader": chosen.reader, "path": chosen.path, "raw": type(chosen)()}
        self._parts, self._release = parts, RawReader(config.model_copy(update=others))

    def sources(self) -> list[Path]:
        mappings = [Path(file).expanduser() for file in self._mapping_files.values()]
        return [*self._parts.sources(), *mappings, *self._release.sources()]

    def interactions(self) -> Iterator[pa.RecordBatch]:
        """Those of the parts; what they lack of rating, time and review comes from the user's latest review of it."""
        items, reviews = self._items, self._reviews() if "user" in self._mapping_files else None
        n_joined = 0
        for batch in self._counted(self._parts).interactions():
            unknown = batch.filter(pc.invert(pc.is_in(batch.column("item_id"), items["number"].combine_chunks())))
            if unknown.num_rows:
                number = unknown.column("item_id")[0].as_py()
                raise DataError.at(
                    f"has no line for item {number} of the parts", _OTHER, file=self._mapping_files["item"]
                )
            if reviews is not None:
                batch, n = _with_reviews(batch, reviews)
                n_joined += n
            yield batch
        if reviews is not None:
            self.counts["interactions with a review of the release"] = n_joined
            if not n_joined:
                raise DataError.at(
                    "no interaction of the parts is among its reviews", _OTHER, file=self._release.folder
                )

    def items(self) -> Iterator[pa.RecordBatch]:
        """Those that the parts describe, then the others of the mapping as the release describes them."""
        described: set[str] = set()
        for batch in self._counted(self._parts).items():
            described.update(batch.column("item_id").to_pylist())
            yield batch
        n_found = 0
        for batch in self._counted(self._release).items():
            renamed = _renamed(batch, "item_id", self._items)
            n_found += renamed.num_rows
            fresh = pa.array([number not in described for number in renamed.column("item_id").to_pylist()], pa.bool_())
            yield renamed.filter(fresh)
        self.counts["items described by the release"] = n_found
        if not n_found:
            raise DataError.at("describes none of the mapping's items", _OTHER, file=self._release.folder)

    def profiles(self, side: Side) -> Iterator[pa.RecordBatch]:
        return self._counted(self._parts).profiles(side)

    def vector_files(self, side: Side) -> list[Path]:
        return self._parts.vector_files(side)

    def vectors(self, side: Side) -> Iterator[pa.RecordBatch]:
        return self._parts.vectors(side)

    @property
    def _mapping_files(self) -> dict[Side, str]:
        sides: dict[Side, str | None] = {"item": self.config.raw.item_mapping, "user": self.config.raw.user_mapping}
        return {side: file for side, file in sides.items() if file is not None}

    @cached_property
    def _items(self) -> pa.Table:
        return read_mapping(Path(self._mapping_files["item"]).expanduser(), "item")

    def _reviews(self) -> pa.Table:
        """Of the mapped users and items: pair, rating, timestamp, review, the latest of each pair."""
        users = read_mapping(Path(self._mapping_files["user"]).expanduser(), "user")
        found = [
            _renamed(_renamed(batch, "item_id", self._items), "user_id", users)
            for batch in self._counted(self._release).interactions()
        ]
        table = pa.Table.from_batches(found, INTERACTIONS)
        keys = pa.table(
            {"pair": _pairs(table), "time": table["timestamp"], "row": pa.array(range(len(table)), pa.int64())}
        )
        # Rows without a time come first, so that any other is later.
        order = pc.sort_indices(keys, [("time", "ascending"), ("row", "ascending")], null_placement="at_start")
        last = keys.take(order).group_by("pair", use_threads=False).aggregate([("row", "last")])
        latest = table.take(last["row_last"]).select(_TEXTS)
        return latest.append_column("pair", last["pair"])

    def _counted(self, reader: Reader) -> Reader:
        """The reader, which counts what it leaves out, and says what is strange, where this one does."""
        reader.counts, reader.malformed, reader.warnings = self.counts, self.malformed, self.warnings
        return reader


def read_mapping(file: Path, side: Side) -> pa.Table:
    """number and id, both text, of a file of JSON lines such as {"iid": 0, "asin": "0373730489"}.

    Raises DataError on a line of another form, and on a number or id that is there twice.
    """
    name, numbers, ids = _NUMBER[side], dict[str, int](), dict[str, int]()
    form = f'write lines such as {{"{name}": 0, "id": "..."}}'
    with explained(file), file.open(encoding="utf-8") as lines:
        for place, text in enumerate(lines, start=1):
            try:
                row = json.loads(text) if text.strip() else None
            except ValueError as error:
                raise DataError.at("is no JSON object", form, file=file, line=place) from error
            if row is None:
                continue
            number = row.get(name) if isinstance(row, dict) else None
            others = [value for key, value in row.items() if key != name] if isinstance(row, dict) else []
            if type(number) is not int or len(others) != 1 or not isinstance(others[0], str):
                raise DataError.at(f"has not a number {name!r} and one id beside it", form, file=file, line=place)
            for value, seen in ((str(number), numbers), (others[0], ids)):
                if first := seen.get(value):
                    raise DataError.at(f"{value!r} stands in line {first}, too", form, file=file, line=place)
                seen[value] = place
    return pa.table({"number": pa.array(numbers, pa.string()), "id": pa.array(ids, pa.string())})


def _renamed(batch: pa.RecordBatch, column: str, mapping: pa.Table) -> pa.RecordBatch:
    """The rows whose id is in the mapping, under its number."""
    place = pc.index_in(batch.column(column), mapping["id"].combine_chunks())
    kept = batch.filter(place.is_valid())
    numbers = mapping["number"].combine_chunks().take(place.drop_null())
    at = batch.schema.get_field_index(column)
    return kept.set_column(at, batch.schema.field(at), numbers)


def _pairs(rows: pa.RecordBatch | pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(rows.column("user_id"), rows.column("item_id"), "\t")


def _with_reviews(batch: pa.RecordBatch, reviews: pa.Table) -> tuple[pa.RecordBatch, int]:
    """The batch with what the reviews say of its pairs, where it says nothing itself; and of how many they do."""
    place = pc.index_in(_pairs(batch), reviews["pair"].combine_chunks())
    for name in _TEXTS:
        at = batch.schema.get_field_index(name)
        known = reviews[name].combine_chunks().take(place)
        batch = batch.set_column(at, batch.schema.field(at), pc.coalesce(batch.column(name), known))
    return batch, len(place) - place.null_count
