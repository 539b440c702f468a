"""Edges divided into train, validation and test.

The random scopes give every pair a part by a hash of its ids and the seed: the ratios are the probabilities of the
parts, and a pair keeps its part whatever else comes or goes. Only what coverage asks for departs from that, pair by
pair: the pair with the lowest hash of each user and of each item is train, and a part that would be empty though its
share is one interaction or more gets one. Such repairs move no other pair, and are counted.
The temporal scopes hold out what is latest. They move nothing into train, but leave out what train does not know.
"""

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rlmrec_core.config.data import SplitScope
from rlmrec_core.data.draws import Hashes, divided, lowest
from rlmrec_core.data.edges import NO_TIME, Edges, Ints, Mask
from rlmrec_core.data.errors import DataError

Parts = npt.NDArray[np.int8]
Ratios = tuple[int, int, int]
LEFT_OUT = -1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Division:
    """How edges were divided.

    parts: (n_edges,) indices into PARTS; LEFT_OUT for what a temporal split cannot use. note: what was done, for
    people. repairs: how many edges coverage gave another part than their hash.
    """

    parts: Parts
    note: str
    repairs: int = 0


def divide(edges: Edges, scope: SplitScope, ratios: Ratios, hashes: Hashes) -> Division:
    """The part of every edge; hashes: (n_edges,), of their pairs.

    Raises DataError where a temporal scope finds an edge without a time, or nothing later that it could hold out.
    """
    if scope in ("temporal", "per_user_temporal"):
        _require_times(edges)
        in_time = np.lexsort((hashes, edges.time))
        return _temporal(edges, ratios, in_time) if scope == "temporal" else _latest(edges, ratios, in_time)
    return _by_hash(edges, ratios, hashes, edges.user if scope == "per_user" else np.zeros(len(edges), np.int32))


def _by_hash(edges: Edges, ratios: Ratios, hashes: Hashes, group: Ints) -> Division:
    """A draw over all edges, with a train edge for every user and item and, in every group, something of each part."""
    drawn = divided(hashes, ratios)
    parts = drawn.copy()
    needed = lowest(edges.user, hashes) | lowest(edges.item, hashes)
    parts[needed] = 0
    sizes = np.bincount(group)
    for part in (2, 1):
        lacking = (sizes * ratios[part] >= sum(ratios)) & (np.bincount(group[parts == part], minlength=len(sizes)) == 0)
        # The highest of what may leave train: it lies nearest to the parts that are held out.
        parts[lowest(group, ~hashes, (parts == 0) & ~needed & lacking[group])] = part
    repairs = int((parts != drawn).sum())
    shown = ":".join(map(str, ratios))
    note = f"each pair drawn {shown} by its ids and the seed; {repairs:,} moved so that nobody is without"
    return Division(parts, note, repairs)


def _temporal(edges: Edges, ratios: Ratios, in_time: Ints) -> Division:
    """One cut in time: train takes its share of all edges, the earliest; of later ones stay those train knows."""
    cut = -(-len(edges) * ratios[0] // sum(ratios))
    parts = np.full(len(edges), LEFT_OUT, np.int8)
    parts[in_time[:cut]] = 0
    later = in_time[cut:]
    later = later[_known(edges, parts == 0)[later]]
    n_validation = len(later) * ratios[1] // max(ratios[1] + ratios[2], 1)
    parts[later[:n_validation]] = 1
    parts[later[n_validation:]] = 2
    until = np.datetime64(int(edges.time[in_time[cut - 1]]), "us").astype("datetime64[s]")
    note = f"train ends at {until}, with {cut:,} interactions"
    return _held_out_later(parts, len(edges) - cut, note, "choose prepare.scope per_user_temporal, per_user or global")


def _latest(edges: Edges, ratios: Ratios, in_time: Ints) -> Division:
    """The latest edges of each user held out: their share, and one at least where the user has enough of them."""
    order = in_time[np.argsort(edges.user[in_time], kind="stable")]
    n = np.bincount(edges.user)[edges.user[order]]
    place = np.arange(len(order)) - np.searchsorted(edges.user[order], edges.user[order])
    cut, test_from = (_rounded(n * end, sum(ratios)) for end in np.cumsum(ratios)[:2])
    if ratios[2]:
        test_from = np.minimum(test_from, np.maximum(n - 1, 1))
    cut = np.clip(cut, 1, np.maximum(test_from - bool(ratios[1]), 1)) if ratios[1] else np.maximum(test_from, 1)
    parts = np.empty(len(edges), np.int8)
    parts[order] = (place >= cut).astype(np.int8) + (place >= np.maximum(test_from, cut))
    n_later = int((parts > 0).sum())
    parts[~_known(edges, parts == 0)] = LEFT_OUT
    note = "the latest interactions of each user are held out"
    return _held_out_later(parts, n_later, note, _NOT_TEMPORAL)


def _held_out_later(parts: Parts, n_later: int, note: str, way_out: str) -> Division:
    """The division, said in words. Raises DataError if nothing that is later can be used."""
    n_used = int((parts > 0).sum())
    if n_later and not n_used:
        raise DataError.at("no later interaction is between users and items that train knows", way_out)
    note = f"{note}; of {n_later:,} later ones {n_used:,} are between users and items that train knows, the rest is out"
    if 2 * n_used < n_later:
        _log.warning("the split drops most of what it could test on (%s): %s to keep more", note, way_out)
    return Division(parts, note)


_NOT_TEMPORAL = "choose prepare.scope per_user or global"


def _require_times(edges: Edges) -> None:
    timeless = edges.time == NO_TIME
    if timeless.any():
        row = int(edges.row[timeless.argmax()]) + 1
        way_out = f"name its column in ingest.columns.timestamp, or {_NOT_TEMPORAL}"
        raise DataError.at("a temporal split needs a time", way_out, file="interactions", row=row, column="timestamp")


def _known(edges: Edges, train: Mask) -> Mask:
    """True where both the user and the item of an edge have a train edge."""
    known: Mask = np.isin(edges.user, edges.user[train]) & np.isin(edges.item, edges.item[train])
    return known


def _rounded(numerator: Ints, denominator: int) -> Ints:
    return (2 * numerator + denominator) // (2 * denominator)
