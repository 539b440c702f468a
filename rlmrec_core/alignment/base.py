"""The contract of an alignment, composed with any backbone, and the semantic vectors it aligns with."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rlmrec_core.backbones.base import Batch
from rlmrec_core.config.training import AlignmentSettings

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Semantic:
    """Semantic vectors of users (n_users, d_s) and items (n_items, d_s).

    A row of zeros stands for a missing vector: such a node takes no part in alignment, neither as anchor nor as key,
    and trains like Base. Raises ValueError on NaN, on sides of different width, or if a side has no vector at all.
    """

    users: Float32Array
    items: Float32Array

    def __post_init__(self) -> None:
        for name, vectors in (("user", self.users), ("item", self.items)):
            if not np.isfinite(vectors).all():
                raise ValueError(
                    f"semantic vectors of some {name}s are not finite; run the embed stage again with --force"
                )
            if not vectors.any():
                raise ValueError(
                    f"no {name} has a semantic vector; check the profile and embed stages, or train base only"
                )
        if self.users.shape[1] != self.items.shape[1]:
            raise ValueError(f"user vectors have {self.users.shape[1]} components, item vectors {self.items.shape[1]}")

    def shuffled(self, seed: int) -> "Semantic":
        """The control: the rows of each side permuted, so that vectors keep their distribution but lose their owner."""
        rng = np.random.default_rng(seed)
        return Semantic(rng.permutation(self.users), rng.permutation(self.items))


class Entry(NamedTuple):
    """The table a step propagates, (n_nodes, d), and the nodes whose rows were masked in it, if any."""

    table: Tensor
    masked: Tensor | None


class Alignment(nn.Module):
    """Base: no alignment. Subclasses change the table on its way in, add a loss on the view that comes out, or both."""

    def enter(self, table: Tensor, generator: torch.Generator) -> Entry:
        """What a training step propagates in place of `table` (n_nodes, d)."""
        return Entry(table, None)

    def losses(self, nodes: Tensor, batch: Batch, entry: Entry) -> dict[str, Tensor]:
        """Weighted scalars by name for the step's view `nodes` (n_nodes, D)."""
        return {}


def product_dtype(settings: AlignmentSettings) -> torch.dtype:
    """Operands of the large products of an alignment."""
    return torch.bfloat16 if settings.bf16 else torch.float32


class Adapter(nn.Sequential):
    """The MLP size_in -> (size_in + size_out) / 2 -> size_out with LeakyReLU between (RLMRec, section 3.3).

    dtype: operands of its products; weights, their gradients and the result stay float32.
    """

    def __init__(self, size_in: int, size_out: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        hidden = (size_in + size_out) // 2
        super().__init__(nn.Linear(size_in, hidden), nn.LeakyReLU(), nn.Linear(hidden, size_out))
        self.dtype = dtype
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, size_in) to (n, size_out)."""
        with torch.autocast(vectors.device.type, self.dtype, enabled=self.dtype != torch.float32):
            adapted: Tensor = super().forward(vectors)  # type: ignore[no-untyped-call]
        return adapted.float()
