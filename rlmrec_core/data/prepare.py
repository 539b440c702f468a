"""Interactions filtered, divided and numbered: the second stage."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rlmrec_core.config.data import PrepareConfig
from rlmrec_core.data import dataset_statistics
from rlmrec_core.data.draws import Draws
from rlmrec_core.data.edges import CodedInteractions, Edges, Ints, code_interactions, in_several_parts, n_distinct
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.filters import FilterLog, deduplicated, filtered, halved, within_dates, without_cold
from rlmrec_core.data.partition import LEFT_OUT, divide
from rlmrec_core.data.texts import Lengths, TextLengths, lengths_of
from rlmrec_core.tables import (
    COLD_START,
    FILTER_REPORT,
    HISTOGRAMS,
    ITEM_INDEX,
    PARTS,
    SPLIT,
    STATISTICS,
    USER_INDEX,
    Tables,
)

_log = logging.getLogger(__name__)
_BATCH = 16_384
"""Rows with their text in memory at once."""

_CARRIED = ["rating", "timestamp", "review"]


def prepare(interactions: ds.Dataset, items: ds.Dataset, config: PrepareConfig, *, to_learn: bool = False) -> Tables:
    """split, cold_start, user_index, item_index, filter_report, statistics, histograms: see `rlmrec_core.tables`.

    interactions, items: what `ingest` wrote. Of duplicates of a (user, item) the latest is kept. Ready-made parts are
    otherwise kept as they are. Codes are dense, in the order of the ids: as numbers if all are integers, else as text.
    The rows of split keep the order of the interactions: reviews are joined as a stream and never held all at once,
    so split is to be drained before statistics and histograms, which tell of the reviews' length.
    Raises DataError if no interaction is left, or if the chosen split cannot be made; with to_learn, also if a model
    could learn and recommend nothing from it, as from a single user.
    """
    coded = code_interactions(interactions)
    log = FilterLog()
    chosen, cold, repairs = _chosen(coded, TextLengths(interactions, items, coded.item_ids), config, log)
    if to_learn:
        _check_learnable(chosen, coded)
    user, user_index = _numbered(chosen.user, coded.user_ids, USER_INDEX)
    item, item_index = _numbered(chosen.item, coded.item_ids, ITEM_INDEX)
    edges = replace(chosen, user=user, item=item)
    split = _SplitStream(interactions, edges)
    item_ids = item_index["item_id"].combine_chunks()
    ready = {"user_index": user_index, "item_index": item_index, "filter_report": log.table(FILTER_REPORT)}
    return {
        "split": (SPLIT, split.batches()),
        "cold_start": (COLD_START, _cold_start(interactions, cold, chosen, coded)),
        **{name: (table.schema, iter(table.to_batches())) for name, table in ready.items()},
        "statistics": (
            STATISTICS,
            _late(lambda: dataset_statistics.statistics(edges, split.review_lengths, item_ids, items, repairs)),
        ),
        "histograms": (HISTOGRAMS, _late(lambda: dataset_statistics.histograms(edges, split.review_lengths))),
    }


def _chosen(
    coded: CodedInteractions, texts: TextLengths, config: PrepareConfig, log: FilterLog
) -> tuple[Edges, Edges, int]:
    """The edges to keep, each with its part; those of users and items held out; how many coverage gave another part."""
    edges = coded.edges
    log.record("read", edges, "the interactions table is empty; check ingest")
    if (edges.part >= 0).all():
        if config.half:
            raise DataError.at("ready-made parts are kept as they are and have no halves", "leave out prepare.half")
        if n_several := in_several_parts(edges):
            _log.warning(
                "%d pairs of a user and an item stand in several parts, and are left in one: that of the latest time, "
                "else the last of train, validation and test",
                n_several,
            )
        edges = deduplicated(edges, log)
        return edges, edges.take(np.zeros(0, np.int64)), 0
    draws = Draws(coded.user_ids, coded.item_ids, config.seed)
    edges = halved(deduplicated(within_dates(edges, config, log), log), config, log)
    edges = filtered(edges, config, texts, draws, log)
    edges, cold = without_cold(edges, config, draws, log)
    division = divide(edges, config.scope, config.ratios, draws.pairs("split", edges.user, edges.item))
    edges = edges.with_parts(division.parts).take(division.parts != LEFT_OUT)
    log.record("split", edges, "choose prepare.scope global or per_user", division.note)
    return edges, cold, division.repairs


def _check_learnable(edges: Edges, coded: CodedInteractions) -> None:
    """Raises DataError where there is nothing to learn or recommend; warns of what will be missing."""
    train = edges.part == 0
    if not train.any():
        raise DataError.at("no interaction is in train", "give some of them the part train")
    n_items = n_distinct(edges.item)
    degree = np.bincount(edges.user[train], minlength=int(edges.user.max()) + 1)
    users = np.unique(edges.user)
    full = users[degree[users] >= n_items]
    example = coded.user_ids[int(full[0])].as_py() if len(full) else None
    if len(full) == len(users):
        who = f"the only user, {example!r}, has" if len(users) == 1 else f"every user, such as {example!r}, has"
        way_out = (
            "bring interactions of more users and items, or loosen the filters (prepare.k_core, prepare.min_rating)"
        )
        raise DataError.at(f"{who} all {n_items} items in train: nothing is left to recommend", way_out)
    if len(full):
        _log.warning(
            "%d users, such as %r, have all %d items in train: their lists will be empty, and their interactions teach "
            "the model no preference",
            len(full),
            example,
            n_items,
        )
    for part, without in ((1, "models train for train.fixed_epochs epochs"), (2, "there will be no test metrics")):
        if not (edges.part == part).any():
            _log.warning("no interaction is in %s: %s (prepare.ratios)", PARTS[part], without)


@dataclass
class _SplitStream:
    """The rows of split; once they are drained, how long their reviews are."""

    interactions: ds.Dataset
    edges: Edges

    def __post_init__(self) -> None:
        self._lengths: list[Lengths] = [np.zeros(0, np.int32)]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Batches of SPLIT."""
        parts = pa.array(PARTS, pa.string())
        for here, carried in _carried(self.interactions, self.edges.row):
            self._lengths.append(lengths_of(carried.column("review")))
            codes = [pa.array(self.edges.user[here]), pa.array(self.edges.item[here])]
            part = parts.take(pa.array(self.edges.part[here]))
            yield pa.RecordBatch.from_arrays([*codes, part, *carried.columns], schema=SPLIT)

    @property
    def review_lengths(self) -> Lengths:
        """(n_edges,) in characters."""
        lengths = np.concatenate(self._lengths)
        if len(lengths) != len(self.edges):
            raise RuntimeError("the lengths of reviews are known once split is drained")
        return lengths


def _cold_start(
    interactions: ds.Dataset, cold: Edges, chosen: Edges, coded: CodedInteractions
) -> Iterator[pa.RecordBatch]:
    """Batches of COLD_START: the edges held out, with the end that train does not know."""
    if not len(cold):
        return
    new_user, new_item = ~np.isin(cold.user, chosen.user), ~np.isin(cold.item, chosen.item)
    label = pa.array(np.where(new_user & new_item, 2, np.where(new_item, 1, 0)))
    names = pa.array(["user", "item", "both"]).take(label)
    for here, carried in _carried(interactions, cold.row):
        ids = [coded.user_ids.take(pa.array(cold.user[here])), coded.item_ids.take(pa.array(cold.item[here]))]
        yield pa.RecordBatch.from_arrays([*ids, names[here], *carried.columns], schema=COLD_START)


def _carried(interactions: ds.Dataset, row: npt.NDArray[np.int64]) -> Iterator[tuple[slice, pa.RecordBatch]]:
    """One pass over the raw table: which of `row`, ascending, a batch holds, and their rating, time and review."""
    begin = done = 0
    # Little is read ahead: a batch of long reviews is large.
    batches = interactions.to_batches(columns=_CARRIED, batch_size=_BATCH, batch_readahead=2, fragment_readahead=1)
    for batch in batches:
        end = int(np.searchsorted(row, begin + batch.num_rows))
        yield slice(done, end), batch.take(pa.array(row[done:end] - begin))
        begin, done = begin + batch.num_rows, end


def _late(table: Callable[[], pa.Table]) -> Iterator[pa.RecordBatch]:
    """A table that is made only when it is asked for."""
    yield from table().to_batches()


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
