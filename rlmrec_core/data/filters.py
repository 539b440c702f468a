"""The filters of prepare, in the authors' order, and the log of what each removed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa

from rlmrec_core.config.data import PrepareConfig
from rlmrec_core.data.draws import Draws, Hashes, below, lowest
from rlmrec_core.data.edges import NO_TIME, Edges, Ints, Mask, latest_of_duplicates, n_distinct
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.kcore import k_core
from rlmrec_core.data.texts import TextLengths

_log = logging.getLogger(__name__)

Filter = Callable[[Edges], Mask | Ints]


@dataclass
class FilterLog:
    """What remained after each step, and what the step removed."""

    _rows: list[dict[str, object]] = field(default_factory=list)
    _n_last: int = 0
    _greediest: tuple[int, str, int, str] = (0, "", 0, "")
    """How many the step that removed most removed, its name, of how many, and its way out."""

    def record(self, step: str, edges: Edges, way_out: str, note: str | None = None) -> None:
        """Add a step. Raises DataError, with the way out, if it left nothing."""
        removed = max(self._n_last - len(edges), 0)
        if not len(edges):
            problem, (most, before, n, first) = (
                f"step {step!r} removed the last {removed:,} interactions",
                self._greediest,
            )
            if most > removed:
                problem += f", after {before!r} had removed {most:,} of {n:,}"
                way_out = f"{first}, or {way_out}"
            raise DataError.at(problem, way_out)
        self._greediest = max(self._greediest, (removed, step, self._n_last, way_out))
        counts = {"users": n_distinct(edges.user), "items": n_distinct(edges.item), "interactions": len(edges)}
        self._rows.append({"step": step, **counts, "removed": removed, "note": note})
        self._n_last = len(edges)

    def table(self, schema: pa.Schema) -> pa.Table:
        """One row per step (FILTER_REPORT)."""
        return pa.Table.from_pylist(self._rows, schema=schema)


def deduplicated(edges: Edges, log: FilterLog) -> Edges:
    """Of every (user, item) the latest interaction."""
    kept = edges.take(latest_of_duplicates(edges))
    log.record("duplicates", kept, "check ingest")
    return kept


def within_dates(edges: Edges, config: PrepareConfig, log: FilterLog) -> Edges:
    """Interactions from `since` to before `before`."""
    if config.since is None and config.before is None:
        return edges
    keep = edges.time != NO_TIME
    if config.since is not None:
        keep &= edges.time >= _microseconds(config.since)
    if config.before is not None:
        keep &= edges.time < _microseconds(config.before)
    kept = edges.take(keep)
    log.record("dates", kept, "widen prepare.since and prepare.before")
    return kept


def halved(edges: Edges, config: PrepareConfig, log: FilterLog) -> Edges:
    """The earlier or the later half of each user's interactions; of an odd number the first half has one more.

    What has the same time comes in the order of the raw data.
    """
    if config.half is None:
        return edges
    edges = edges.take(edges.time != NO_TIME)
    order = np.lexsort((edges.time, edges.user))
    user = edges.user[order]
    place = np.arange(len(order)) - np.searchsorted(user, user)
    later = np.empty(len(order), bool)
    later[order] = 2 * place >= np.bincount(user)[user]
    kept = edges.take(later if config.half == "second" else ~later)
    log.record("half", kept, "leave out prepare.half, or name the column of times in ingest.columns.timestamp")
    return kept


def filtered(edges: Edges, config: PrepareConfig, texts: TextLengths, draws: Draws, log: FilterLog) -> Edges:
    """Rating threshold, minimum text, sample of users, k-core to its fixed point."""
    for step, (keep, way_out) in _steps(config, texts, draws).items():
        n = len(edges)
        edges = edges.take(keep(edges))
        log.record(step, edges, way_out)
        if step == "min_rating" and (doubt := few_liked(n - len(edges), n, config.min_rating or 0.0)):
            _log.warning(doubt)
    return edges


def few_liked(n_below: int, n: int, least: float) -> str | None:
    """What to say where a threshold drops most interactions: the column may hold no ratings."""
    if 2 * n_below <= n:
        return None
    return (
        f"{n_below:,} of {n:,} interactions are rated below prepare.min_rating ({least:g}) and dropped; if the column "
        'holds quantities or plays, set prepare.min_rating = "none" or leave ingest.columns.rating out'
    )


def without_cold(edges: Edges, config: PrepareConfig, draws: Draws, log: FilterLog) -> tuple[Edges, Edges]:
    """The edges between users and items that may be learnt from, and those of the users and items held out."""
    if not (config.cold_users or config.cold_items):
        return edges, edges.take(np.zeros(0, np.int64))
    cold_users = _of_drawn(edges.user, config.cold_users, draws.users("cold"))
    cold = cold_users | _of_drawn(edges.item, config.cold_items, draws.items("cold"))
    kept = edges.take(~cold)
    log.record("cold start", kept, "lower prepare.cold_users or prepare.cold_items")
    return kept, edges.take(cold)


def _steps(config: PrepareConfig, texts: TextLengths, draws: Draws) -> dict[str, tuple[Filter, str]]:
    steps: dict[str, tuple[Filter, str]] = {}
    if (least := config.min_rating) is not None:
        steps["min_rating"] = (lambda e: ~(e.rating < least), f"lower prepare.min_rating (now {least:g})")
    if chars := config.min_review_chars:
        way_out = f"lower prepare.min_review_chars (now {chars})"
        steps["min_review_chars"] = (lambda e: texts.reviews()[e.row] >= chars, way_out)
    if item_chars := config.min_item_chars:
        way_out = f"lower prepare.min_item_chars (now {item_chars})"
        steps["min_item_chars"] = (lambda e: texts.items()[e.item] >= item_chars, way_out)
    if (share := config.user_fraction) < 1:
        way_out = f"raise prepare.user_fraction (now {share:g})"
        steps["user_fraction"] = (lambda e: _of_drawn(e.user, share, draws.users("sample")), way_out)
    k_user, k_item = config.k_core, config.item_k_core or config.k_core
    if max(k_user, k_item) > 1:
        shown = f"{k_user}" if k_user == k_item else f"{k_user}, for items {k_item}"
        steps["k_core"] = (lambda e: k_core(e.user, e.item, k_user, k_item), f"lower prepare.k_core (now {shown})")
    return steps


def _of_drawn(codes: Ints, share: float, hashes: Hashes) -> Mask:
    """True for edges of the users, or items, drawn by their hashes with this probability.

    codes: (n_edges,); hashes: one for each code. One is drawn at least; none where the share is 0.
    """
    if not share:
        return np.zeros(len(codes), bool)
    drawn = below(hashes, share)[codes]
    return drawn if drawn.any() else lowest(np.zeros(len(codes), np.int8), hashes[codes])


def _microseconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
