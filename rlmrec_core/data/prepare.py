"""Interactions filtered, divided and numbered: the second stage."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rlmrec_core.config.data import PrepareConfig
from rlmrec_core.data.edges import Edges, Ints, code_interactions
from rlmrec_core.data.filters import FilterLog, deduplicated, filtered
from rlmrec_core.data.partition import LEFT_OUT, divide
from rlmrec_core.tables import FILTER_REPORT, ITEM_INDEX, PARTS, SPLIT, STATISTICS, USER_INDEX, Tables

_BATCH = 16_384
"""Rows with their text in memory at once."""

_CARRIED = ["rating", "timestamp", "review"]


@dataclass(frozen=True)
class _Kept:
    """The interactions that survived, in the order of the raw table: row there, dense codes, index into PARTS."""

    row: npt.NDArray[np.int64]
    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    part: npt.NDArray[np.int8]


def prepare(interactions: ds.Dataset, items: ds.Dataset, config: PrepareConfig) -> Tables:
    """split, user_index, item_index, statistics, filter_report: schemas in `rlmrec_core.tables`.

    interactions, items: what `ingest` wrote. Of duplicates of a (user, item) the latest is kept. Ready-made parts are
    otherwise kept as they are. Codes are dense, in the order of the ids: as numbers if all are integers, else as text.
    The rows of split keep the order of the interactions: reviews are joined as a stream and never held all at once.
    Raises DataError if no interaction is left, or if the chosen split cannot be made.
    """
    coded = code_interactions(interactions)
    log = FilterLog()
    edges = _chosen(coded.edges, config, log)
    user, user_index = _numbered(edges.user, coded.user_ids, USER_INDEX)
    item, item_index = _numbered(edges.item, coded.item_ids, ITEM_INDEX)
    kept = _Kept(edges.row, user, item, edges.part)
    small = {
        "user_index": user_index,
        "item_index": item_index,
        "statistics": _statistics(kept, user_index, item_index, items),
        "filter_report": log.table(FILTER_REPORT),
    }
    streams: Tables = {name: (table.schema, iter(table.to_batches())) for name, table in small.items()}
    return {"split": (SPLIT, _with_text(interactions, kept)), **streams}


def _chosen(edges: Edges, config: PrepareConfig, log: FilterLog) -> Edges:
    """The edges to keep, each with its part."""
    edges = deduplicated(edges, log)
    if (edges.part >= 0).all():
        return edges
    rng = np.random.default_rng(config.seed)
    edges = filtered(edges, config, rng, log)
    edges = edges.with_parts(divide(edges, config.scope, config.ratios, rng))
    if config.scope == "temporal":
        edges = edges.take(edges.part != LEFT_OUT)
        log.record("unknown to train", edges, "choose prepare.scope global or per_user")
    return edges


def _numbered(codes: Ints, ids: pa.Array, schema: pa.Schema) -> tuple[npt.NDArray[np.int32], pa.Table]:
    """Dense codes of the ids that occur, in the ids' order, and their index table."""
    present = np.unique(codes)
    present_ids = ids.take(pa.array(present))
    order = _id_order(present_ids)
    dense = np.empty(len(ids), np.int32)
    dense[present[order]] = np.arange(len(order))
    numbers = pa.array(np.arange(len(order), dtype=np.int32))
    return dense[codes], pa.table([numbers, present_ids.take(pa.array(order))], schema=schema)


def _id_order(ids: pa.Array) -> npt.NDArray[np.int64]:
    """Positions that sort the ids: as numbers if all are integers (equal ones, as 7 and 07, by text), else as text."""
    keys = {"text": ids}
    if pc.all(pc.match_substring_regex(ids, r"^-?\d{1,18}$")).as_py():
        keys = {"number": ids.cast(pa.int64()), **keys}
    order = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    positions: npt.NDArray[np.int64] = order.to_numpy().astype(np.int64)
    return positions


def _with_text(interactions: ds.Dataset, kept: _Kept) -> Iterator[pa.RecordBatch]:
    """Batches of SPLIT: one pass over the raw table, of which only the surviving rows are passed on."""
    parts = pa.array(PARTS, pa.string())
    begin = done = 0
    # Little is read ahead: a batch of long reviews is large.
    batches = interactions.to_batches(columns=_CARRIED, batch_size=_BATCH, batch_readahead=2, fragment_readahead=1)
    for batch in batches:
        end = int(np.searchsorted(kept.row, begin + batch.num_rows))
        here = slice(done, end)
        carried = batch.take(pa.array(kept.row[here] - begin))
        codes = [pa.array(kept.user[here]), pa.array(kept.item[here]), parts.take(pa.array(kept.part[here]))]
        yield pa.RecordBatch.from_arrays([*codes, *carried.columns], schema=SPLIT)
        begin, done = begin + batch.num_rows, end


def _statistics(kept: _Kept, user_index: pa.Table, item_index: pa.Table, items: ds.Dataset) -> pa.Table:
    """Counts, density and the sizes of the parts (STATISTICS)."""
    n_users, n_items = user_index.num_rows, item_index.num_rows
    values: dict[str, float] = {
        "users": n_users,
        "items": n_items,
        "interactions": len(kept.row),
        "density": len(kept.row) / (n_users * n_items),
        **{part: int((kept.part == index).sum()) for index, part in enumerate(PARTS)},
        **_described(items, item_index["item_id"].combine_chunks()),
    }
    return pa.table({"name": list(values), "value": [float(value) for value in values.values()]}, schema=STATISTICS)


def _described(items: ds.Dataset, item_ids: pa.Array) -> dict[str, int]:
    """How many of the items kept have a title, a description, attributes."""
    present = dict.fromkeys(("title", "description", "attributes"), 0)
    for batch in items.to_batches(columns=["item_id", *present]):
        kept = batch.filter(pc.is_in(batch.column("item_id"), value_set=item_ids))
        for name in present:
            present[name] += kept.num_rows - kept.column(name).null_count
    return {f"items with {name}": count for name, count in present.items()}
