"""The filters of prepare, in the authors' order, and the log of what each removed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from rlmrec_core.config.data import PrepareConfig
from rlmrec_core.data.edges import Edges, Ints, Mask, latest_of_duplicates, n_distinct
from rlmrec_core.data.errors import DataError
from rlmrec_core.data.kcore import k_core

Filter = Callable[[Edges], Mask | Ints]


@dataclass
class FilterLog:
    """What remained after each step, and what the step removed."""

    _rows: list[dict[str, object]] = field(default_factory=list)
    _n_last: int = 0

    def record(self, step: str, edges: Edges, way_out: str) -> None:
        """Add a step. Raises DataError, with the way out, if it left nothing."""
        removed = max(self._n_last - len(edges), 0)
        if not len(edges):
            raise DataError.at(f"step {step!r} removed the last {removed} interactions", way_out)
        counts = {"users": n_distinct(edges.user), "items": n_distinct(edges.item), "interactions": len(edges)}
        self._rows.append({"step": step, **counts, "removed": removed})
        self._n_last = len(edges)

    def table(self, schema: pa.Schema) -> pa.Table:
        """One row per step (FILTER_REPORT)."""
        return pa.Table.from_pylist(self._rows, schema=schema)


def deduplicated(edges: Edges, log: FilterLog) -> Edges:
    """Of every (user, item) the latest interaction."""
    log.record("read", edges, "the interactions table is empty; check ingest")
    kept = edges.take(latest_of_duplicates(edges))
    log.record("duplicates", kept, "check ingest")
    return kept


def filtered(edges: Edges, config: PrepareConfig, rng: np.random.Generator, log: FilterLog) -> Edges:
    """Rating threshold, sample of users, k-core to its fixed point."""
    for step, (keep, way_out) in _steps(config, rng).items():
        edges = edges.take(keep(edges))
        log.record(step, edges, way_out)
    return edges


def _steps(config: PrepareConfig, rng: np.random.Generator) -> dict[str, tuple[Filter, str]]:
    steps: dict[str, tuple[Filter, str]] = {}
    if (least := config.min_rating) is not None:
        steps["min_rating"] = (lambda e: ~(e.rating < least), f"lower prepare.min_rating (now {least:g})")
    if (share := config.user_fraction) < 1:
        steps["user_fraction"] = (
            lambda e: _of_sampled_users(e, share, rng),
            f"raise prepare.user_fraction (now {share:g})",
        )
    if (k := config.k_core) > 1:
        steps["k_core"] = (lambda e: k_core(e.user, e.item, k, k), f"lower prepare.k_core (now {k})")
    return steps


def _of_sampled_users(edges: Edges, share: float, rng: np.random.Generator) -> Mask:
    users = np.unique(edges.user)
    chosen = np.zeros(users[-1] + 1, dtype=bool)
    chosen[rng.choice(users, size=max(1, round(share * len(users))), replace=False)] = True
    return chosen[edges.user]
