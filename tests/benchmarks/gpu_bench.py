"""What the sections of the GPU's benchmark share: the device, the data, a stopwatch."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from rlmrec_core.config import TrainConfig
from rlmrec_core.config.training import RunSettings
from rlmrec_core.models.graph.trainer import Trainer
from rlmrec_core.split import Edges, Split
from rlmrec_core.vectors import SemanticEmbeddings


class Unit(NamedTuple):
    """What is measured by itself: under which title, its name, the seconds it is likely to need, and its lines."""

    title: str
    name: str
    needs: float
    lines: Callable[[], Iterable[str]]


@dataclass(frozen=True)
class Bench:
    """What is measured on, and how long it may take."""

    device: torch.device
    split: Split
    semantic: SemanticEmbeddings
    ends: float
    epochs: int

    def left(self) -> float:
        """Seconds before the whole must be over."""
        return self.ends - time.perf_counter()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, compute: Callable[[], object], n: int) -> float:
        """The fastest of n, after one that is not counted; of fewer where time runs out, of the only one for 0."""
        found: list[float] = []
        while len(found) <= n and (len(found) < 2 or self.left() > 0):
            self.wait()
            started = time.perf_counter()
            compute()
            self.wait()
            found.append(time.perf_counter() - started)
        return min(found[1:] or found)

    @cached_property
    def rates(self) -> tuple[float, float]:
        """Operations of float32 products and bytes copied per second."""
        n = 4096 if self.device.type == "cuda" else 256
        one, other = (torch.randn(n, n, device=self.device) for _ in range(2))
        flops = 2 * n**3 / self.seconds(lambda: one @ other, 5)
        source = torch.empty(n * n * 16, device=self.device)
        target = torch.empty_like(source)
        return flops, 2 * source.nbytes / self.seconds(lambda: target.copy_(source), 5)

    def settings(self, backbone: str, variant: str, **changes: Any) -> RunSettings:
        return TrainConfig(device=str(self.device), **changes).run(backbone, variant, 2023)

    def trainer(self, settings: RunSettings) -> Trainer:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
        return Trainer(self.split, settings, self.semantic if settings.reads_semantics else None, None)

    def peak_mib(self) -> int:
        return torch.cuda.max_memory_allocated(self.device) >> 20 if self.device.type == "cuda" else 0


def random_split(n_users: int, n_items: int, n_train: int, device: torch.device, n_held_out: int = 0) -> Split:
    """Train interactions whose ends have a chance that falls with their rank to the power of 0.6, and held-out ones."""
    generator = torch.Generator(device).manual_seed(0)
    wanted, keys = n_train + n_held_out, torch.zeros(0, dtype=torch.int64, device=device)
    while len(keys) < wanted:
        drawn = (torch.rand(wanted // 2, generator=generator, device=device).double() for _ in range(2))
        user, item = ((size * one**2.5).long() for size, one in zip((n_users, n_items), drawn, strict=True))
        keys = torch.cat([keys, user * n_items + item]).unique()
    keys = keys[torch.randperm(len(keys), generator=generator, device=device)]
    parts = []
    for part in (keys[:n_train], keys[n_train:wanted]):
        ordered = part.sort().values
        sides = (ordered.div(n_items, rounding_mode="floor"), ordered % n_items)
        parts.append(Edges(*(side.int().cpu().numpy() for side in sides)))
    return Split(n_users, n_items, parts[0], parts[1], parts[1])


def random_vectors(n_users: int, n_items: int, size: int) -> SemanticEmbeddings:
    """Vectors that say nothing: speed does not depend on what they say."""
    drawn = np.random.default_rng(0).standard_normal((min(max(n_users, n_items), 20_000), size), dtype=np.float32)
    # The same rows again and again: drawing a million anew would take longer than all that is measured of them.
    return SemanticEmbeddings(*(drawn[np.arange(n) % len(drawn)] for n in (n_users, n_items)))
