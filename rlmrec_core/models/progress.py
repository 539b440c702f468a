"""Where a run stands: its history, its validations, its best epoch, and whether it is time to stop."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from rlmrec_core.device import policy
from rlmrec_core.ranking.metrics import find_hits, ndcg, recall
from rlmrec_core.ranking.top_k import PADDING, Ranker
from rlmrec_core.split import Split

VALIDATION_K = 20
STOPPING_METRIC = f"recall@{VALIDATION_K}"


class Validation:
    """Recall@20 and NDCG@20 on the validation part, time after time."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self.split, self.device = split, device
        self.ranker = Ranker(split.n_users, split.train, device)

    def metrics(self, users: Tensor, items: Tensor) -> dict[str, float]:
        """Of these vectors, (n_users, D) and (n_items, D); nothing where there is no validation part."""
        if not len(self.split.validation.user):
            return {}
        ranked, _ = self.ranker.rank(users, items, VALIDATION_K)
        found = self._where_they_are(ranked) if policy(self.device).asynchronous else self._on_the_host(ranked)
        return dict(zip((f"recall@{VALIDATION_K}", f"ndcg@{VALIDATION_K}"), found, strict=True))

    def _on_the_host(self, ranked: Tensor) -> list[float]:
        hits = find_hits(ranked.cpu().numpy().astype(np.int32), self.split.validation, self.split.n_items)
        return [float(measure(hits, VALIDATION_K).mean()) for measure in (recall, ndcg)]

    def _where_they_are(self, ranked: Tensor) -> list[float]:
        """The same on the lists' own device: on the host it would take ten times as long as a GPU needs to rank."""
        users, n_held_out, keys = self._held_out
        lists = ranked[users]
        wanted = users.unsqueeze(1) * self.split.n_items + lists
        place = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        hit = ((keys[place] == wanted) & (lists != PADDING)).double()
        discount = 1 / torch.arange(2, VALIDATION_K + 2, device=self.device, dtype=torch.float64).log2()
        ideal = discount.cumsum(0)[n_held_out.clamp_max(VALIDATION_K) - 1]
        found: list[float] = torch.stack([(hit.sum(1) / n_held_out).mean(), (hit @ discount / ideal).mean()]).tolist()
        return found

    @cached_property
    def _held_out(self) -> tuple[Tensor, Tensor, Tensor]:
        """Users who have any, (n,), how many items each, and every pair as user * n_items + item, ascending."""
        user, item = (torch.from_numpy(side).long() for side in self.split.validation)
        users, counts = user.unique(return_counts=True)
        return users.to(self.device), counts.to(self.device), (user * self.split.n_items + item).to(self.device)


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
