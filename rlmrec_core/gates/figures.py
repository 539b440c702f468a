"""Figures of a run that gates look at: tables in, numbers with their names out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.model_id import ModelId
from rlmrec_core.tables import shown_k

_DAY = 86_400.0
_TEXTS = {"items": ("title", "description", "attributes"), "interactions": ("review",)}
Unit = Literal["count", "share", "score", "days", "usd"]


@dataclass(frozen=True)
class Figure:
    """A number of a run.

    Attributes:
        check: The field of GatesConfig that has its limits.
        what: What it counts, in words; no two figures of a run have the same.
        value: The number.
        unit: How people read it.
        low: Lower end of its 95 % interval, where there is one.
        high: Upper end.
    """

    check: str
    what: str
    value: float
    unit: Unit
    low: float | None = None
    high: float | None = None


def of_raw_data(report: Mapping[str, float]) -> list[Figure]:
    """Rows that were read, and the share of lines that could not be. report: ingest's, by name."""
    malformed = sum(value for name, value in report.items() if name.startswith("malformed lines in "))
    lines = malformed + report["interactions"] + report["items"]
    return [
        Figure("rows", "interactions read", report["interactions"], "count"),
        Figure("malformed", "malformed lines", malformed / max(lines, 1), "share"),
    ]


def of_data(statistics: Mapping[str, float], now: float) -> list[Figure]:
    """Users, items, texts and age of prepared data. statistics: prepare's, by name; now: seconds since 1970."""
    figures = [Figure(name, name, statistics[name], "count") for name in ("users", "items")]
    for side, names in _TEXTS.items():
        for name in names:
            share = statistics[f"{side} with {name}"] / max(statistics[side], 1)
            figures.append(Figure("text", f"{side} with {name}", share, "share"))
    if "last time" in statistics:
        age = (now - statistics["last time"]) / _DAY
        figures.append(Figure("age_days", "age of the newest interaction", age, "days"))
    return figures


def of_profiles(side: str, profiles: pa.Table) -> list[Figure]:
    """The share of profiles that should have been written and were not, stand-ins among them. profiles: PROFILES."""
    failed = len(failures(profiles))
    return [Figure("failed_profiles", f"failed {side} profiles", failed / max(len(profiles), 1), "share")]


def failures(profiles: pa.Table) -> list[str]:
    """Why profiles are not the model's that should be, one reason for each. profiles: PROFILES."""
    stands_in = pc.and_(pc.equal(profiles["status"], "ok"), pc.is_valid(profiles["error"]))
    failed = profiles.filter(pc.or_(pc.equal(profiles["status"], "failed"), stands_in))
    return [reason or "no reason was given" for reason in failed["error"].to_pylist()]


def of_vectors(n_failed: int, n_texts: int) -> list[Figure]:
    """The share of texts that got no vector."""
    return [Figure("failed_vectors", "texts without vector", n_failed / max(n_texts, 1), "share")]


def of_model(model: ModelId, metrics: pa.Table) -> list[Figure]:
    """How good the model that wrote the lists is, on the part that people are shown. metrics: METRICS."""
    own = [row for row in metrics.to_pylist() if tuple(row[name] for name in ModelId._fields) == model]
    part = "test" if any(row["part"] == "test" for row in own) else "validation"
    measured = [row for row in own if row["part"] == part]
    k = shown_k(row["k"] for row in measured)
    return [figure for row in measured if row["k"] == k for figure in _measured(row)]


def _measured(row: Mapping[str, Any]) -> Iterator[Figure]:
    name, place = row["metric"], f"@{row['k']} on {row['part']}"
    if name in ("recall", "ndcg", "coverage"):
        yield Figure(name, f"{name}{place}", row["value"], "score", row["low"], row["high"])
    if name == "recall":
        what = f"{name}{place} over popularity"
        yield Figure("gain_over_popularity", what, row["gain"], "score", row["gain_low"], row["gain_high"])


def of_lists(recommendations: pa.Table, n_users: int) -> list[Figure]:
    """Users without a list, and users with the most frequent one. recommendations: RECOMMENDATIONS, user by user."""
    digests = list_digests(recommendations)
    _, counts = np.unique(digests, return_counts=True)
    same = counts.max() if len(digests) > 1 else 0
    return [
        Figure("empty_lists", "users without list", 1 - len(digests) / max(n_users, 1), "share"),
        Figure("same_lists", "users with the most frequent list", same / max(len(digests), 1), "share"),
    ]


def list_digests(recommendations: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for each user's list, equal where the lists are; the rows of a user stand together."""
    if not len(recommendations):
        return np.empty(0, np.uint64)
    users, items = (_codes(recommendations[name]) for name in ("user_id", "item_id"))
    ranks = recommendations["rank"].to_numpy().astype(np.uint64)
    begins = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    # A random number for each pair of item and rank: sums over lists that differ are equal once in 2^64.
    mixed = _mixed(_mixed(items.astype(np.uint64)) ^ ranks)
    return np.add.reduceat(mixed, begins)


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """A number for each text; equal texts have equal ones in all chunks, which may be too long to be made one."""
    return np.concatenate([chunk.indices.to_numpy().astype(np.int64) for chunk in column.dictionary_encode().chunks])


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele et al., 2014): neighbouring numbers become unlike ones."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
