"""Weft: texts woven into an id table. This project's own recommender."""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.models.graph.backbones.alpharec import AlphaRec, AlphaRecSettings
from rlmrec_core.models.graph.backbones.base import Batch, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.vectors import SemanticEmbeddings

_SMALLEST = 1e-6
"""Variance, as a share of the largest, under which a direction of the texts is rounding error."""

_ROUNDING = 1e-12
"""The same as a share of the vectors' mean squared length: above the square of what float32 rounds."""


class WeftSettings(AlphaRecSettings):
    """Hyper-parameters of Weft."""

    n_components: Annotated[int, SearchRange(32, 256, log=True)] = Field(
        128, ge=1, description="Principal components that are read of the items' texts"
    )
    dropout: Annotated[float, SearchRange(0.0, 0.7)] = Field(
        0.5, ge=0, lt=1, description="Share of the free vectors' components that a training step leaves out"
    )
    length: Annotated[float, SearchRange(0.0, 0.6)] = Field(
        0.3, ge=0, le=1, description="Power of an item's length by which its cosines are multiplied in ranking"
    )


class Weft(AlphaRec):
    r"""AlphaRec with ids, whitened texts and a graph without the answer.

    1. Of the semantic vectors the first `n_components` principal components of the items' are read, each at variance
       one over their number.
    2. Users and items enter with their mapped text and a free vector of their own, E_0 = f(s) + t. A training step
       leaves out a share `dropout` of t's components, drawn anew, and scales up the rest.
    3. E = sum over l = 0..L of A_hat^l E_0 (LightGCN), ranked by cos(e_u, e_i) |e_i|^length: training leaves lengths
       alone, and the sum makes items long that many alike people took.
    4. In training, the pairs of a batch are taken out of A_hat: a user's vector may not hold the item asked for.
    5. The loss is AlphaRec's softmax over the positive item and `n_negatives` drawn ones.

    What people do and no text tells is for t to learn; dropout keeps it from learning single interactions by heart. A
    node without train interactions has none: an item stands where its text puts it.
    """

    Settings = WeftSettings
    has_table: ClassVar[bool] = True

    def __init__(
        self,
        graph: Graph,
        size: int,
        generator: torch.Generator,
        settings: WeftSettings,
        semantic: SemanticEmbeddings,
    ) -> None:
        super().__init__(graph, size, generator, settings, semantic)
        self.dropout, self.length = settings.dropout, settings.length
        degrees = graph.pattern.row_sums(torch.ones_like(graph.values))
        with torch.no_grad():
            self.table[(degrees == 0).to(self.table.device)] = 0

    def read(self, semantic: SemanticEmbeddings, settings: AlphaRecSettings) -> Tensor:
        assert isinstance(settings, WeftSettings)
        users, items = (torch.from_numpy(side) for side in (semantic.users, semantic.items))
        centre, components = _whitening(items, settings.n_components)
        return _project(torch.cat([users, items]), centre, components)

    def initial(self, generator: torch.Generator | None = None) -> Tensor:
        free: Tensor = self.table
        if generator is not None and self.dropout:
            drawn = torch.rand(free.shape, generator=generator, dtype=free.dtype, device=free.device)
            free = free * drawn.ge_(self.dropout).div_(1 - self.dropout)
        return free + super().initial()

    def encode(self, table: Tensor) -> Tensor:
        users, items = self.sides(self.graph.adjacency.sum_of_powers(table, self.n_layers))
        return torch.cat([F.normalize(users, dim=1), _shortened(items, self.length)])

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.graph.without(batch.users, batch.positives).sum_of_powers(table, self.n_layers)
        return Step(nodes, {"softmax": self.softmax_loss(nodes, batch, generator)})


def _shortened(items: Tensor, power: float) -> Tensor:
    """Vectors whose lengths are taken to a power, (n, D); zeros stay zeros."""
    shortened: Tensor = F.normalize(items, dim=1) * items.norm(dim=1, keepdim=True) ** power
    return shortened


def _project(vectors: Tensor, centre: Tensor, components: Tensor) -> Tensor:
    """(n, d_s) to (n, k); a row of zeros, which stands for a missing text, stays one: the text of the mean item."""
    return ((vectors - centre) @ components).where(vectors.any(dim=1, keepdim=True), 0)


def _whitening(items: Tensor, n_components: int) -> tuple[Tensor, Tensor]:
    """The mean, (d_s,), and the components, (d_s, k), by which known rows have variance 1 / k in each of k directions.

    items: (n, d_s); rows of zeros are left out. Where the others do not differ, one component that is zero everywhere.
    """
    known = items[items.any(dim=1)].double()
    centre = known.mean(dim=0)
    variances, directions = torch.linalg.eigh((known - centre).T @ (known - centre) / len(known))
    least = torch.maximum(_SMALLEST * variances[-1], _ROUNDING * known.square().sum(dim=1).mean())
    kept = min(n_components, int((variances > least).sum()))
    if not kept:  # one text, or the same of all, which tells nothing apart
        return centre.float(), torch.zeros(items.shape[1], 1)
    scales = (variances[-kept:] * kept).rsqrt()
    return centre.float(), (directions[:, -kept:] * scales).float().contiguous()


BACKBONE = Weft
