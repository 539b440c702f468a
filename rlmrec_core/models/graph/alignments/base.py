"""The contract of an alignment, composed with any backbone."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Batch
from rlmrec_core.models.graph.losses import MIN_TAU


class VariantSettings(Section):
    """What all variants have in common that read semantic vectors."""

    shuffle: bool = Field(False, description="Control: permute the rows of the semantic vectors")
    bf16: bool = Field(
        False,
        description="Large products in bfloat16: several times faster on GPUs and on CPUs with AMX, twice with "
        "AVX-512 BF16, slower elsewhere; only rounding differs",
    )


class AlignmentSettings(VariantSettings):
    """What the alignments of RLMRec have in common (RLMRec, section 3.3)."""

    weight: Annotated[float, SearchRange(1e-3, 1.0, log=True)] = Field(
        1e-2, ge=0, description="Weight of the alignment loss"
    )
    tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(
        0.2, ge=MIN_TAU, description="Temperature of the alignment loss"
    )


class Entry(NamedTuple):
    """The table a step propagates, (n_nodes, d), and the nodes whose rows were masked in it, if any."""

    table: Tensor
    masked: Tensor | None


class Alignment(nn.Module):
    """Base: no alignment. Subclasses change the table on its way in, add a loss on the view that comes out, or both."""

    def enter(self, table: Tensor, generator: torch.Generator) -> Entry:
        """What a training step propagates in place of `table` (n_nodes, d)."""
        return Entry(table, None)

    def whole(self, table: Tensor) -> Tensor:
        """What inference propagates in place of `table`: as wide as what training does, and nothing masked."""
        return table

    def losses(self, nodes: Tensor, batch: Batch, entry: Entry) -> dict[str, Tensor]:
        """Weighted scalars by name for the step's view `nodes` (n_nodes, D)."""
        return {}


def product_dtype(settings: VariantSettings) -> torch.dtype:
    """Operands of the large products of an alignment."""
    return torch.bfloat16 if settings.bf16 else torch.float32
