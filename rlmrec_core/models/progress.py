"""Where a run stands: its history, its validations, its best epoch, and whether it is time to stop."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor

from rlmrec_core.ranking.metrics import find_hits, ndcg, recall
from rlmrec_core.ranking.top_k import Ranker
from rlmrec_core.split import Split

VALIDATION_K = 20
STOPPING_METRIC = f"recall@{VALIDATION_K}"


def validation_metrics(split: Split, ranker: Ranker, users: Tensor, items: Tensor) -> dict[str, float]:
    """Recall@20 and NDCG@20 of these vectors on the validation part; nothing where there is none."""
    if not len(split.validation.user):
        return {}
    ranked, _ = ranker.rank(users, items, VALIDATION_K)
    hits = find_hits(ranked.cpu().numpy().astype(np.int32), split.validation, split.n_items)
    measures = {"recall": recall, "ndcg": ndcg}
    return {f"{name}@{VALIDATION_K}": float(measure(hits, VALIDATION_K).mean()) for name, measure in measures.items()}


@dataclass
class Progress:
    """Everything about a run that is neither a weight nor a random state. Its fields are plain JSON values."""

    next_epoch: int = 0
    best_epoch: int = -1
    best_value: float = -1.0
    strikes: int = 0
    seconds: float = 0.0
    """Spent so far, by the wall clock, interrupted attempts included up to their last checkpoint."""
    losses: list[dict[str, float]] = field(default_factory=list)
    validations: dict[str, dict[str, float]] = field(default_factory=dict)

    def validated(self, epoch: int, metrics: dict[str, float]) -> bool:
        """Take in a validation; True if it is the best so far. Without metrics, as without validation part, it is."""
        self.validations[str(epoch)] = metrics
        value = metrics.get(STOPPING_METRIC, self.best_value)
        better = not metrics or value > self.best_value
        if better:
            self.best_epoch, self.best_value, self.strikes = epoch, value, 0
        else:
            self.strikes += 1
        return better

    def to_json(self) -> dict[str, Any]:
        """The fields by name; `Progress(**fields)` reads them back."""
        return asdict(self)

    def history(self) -> pa.Table:
        """One row per epoch: epoch, loss (their sum), loss_<name> of each, null where an epoch has none of it, and
        the metrics, null where not validated.
        """
        names = list(dict.fromkeys(name for row in self.losses for name in row))
        metric_names = list(next(iter(self.validations.values()), {}))
        validations = [self.validations.get(str(epoch), {}) for epoch in range(len(self.losses))]
        columns: dict[str, pa.Array] = {"epoch": pa.array(range(len(self.losses)), pa.int32())}
        columns["loss"] = pa.array([sum(row.values()) for row in self.losses], pa.float64())
        columns |= {f"loss_{name}": pa.array([row.get(name) for row in self.losses], pa.float64()) for name in names}
        columns |= {name: pa.array([row.get(name) for row in validations], pa.float64()) for name in metric_names}
        return pa.table(columns)
