"""AlphaRec: mapped texts in the place of an id table, ranked by cosine above sampled items."""

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.training import SemanticSettings
from rlmrec_core.models.graph.adapter import Adapter
from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import MIN_TAU, sampled_softmax
from rlmrec_core.models.graph.rows import take
from rlmrec_core.vectors import SemanticEmbeddings


class AlphaRecSettings(SemanticSettings):
    """Hyper-parameters of AlphaRec."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(2, ge=1, le=8, description="Propagation layers L")
    tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(
        0.15, ge=MIN_TAU, description="Temperature of the loss"
    )
    n_negatives: int = Field(
        2048, ge=1, description="Items drawn for a step, above which its pairs are to rank; all where there are no more"
    )


class AlphaRec(LayerSum):
    r"""Sheng et al., "Language Representations Can be What Recommenders Need: Findings and Potentials", ICLR 2025.

    There is no id table: E_0 = f(S), where S holds the items' semantic vectors and, for a user, the mean of those of
    their train items, and f is an MLP. E = sum over l = 0..L of A_hat^l E_0, ranked by cosine. The loss is a softmax
    over the positive item and `n_negatives` uniform ones, which the pairs of a step share. The paper draws 256 for each
    pair: as few shared ones would leave most items out of most steps. An item without a text enters as f(0), which is
    learnt, and one without interactions stays at f(s).
    """

    Settings = AlphaRecSettings
    samples_negatives: ClassVar[bool] = False
    has_table: ClassVar[bool] = False
    texts: Tensor
    known_items: Tensor

    def __init__(
        self,
        graph: Graph,
        size: int,
        generator: torch.Generator,
        settings: AlphaRecSettings,
        semantic: SemanticEmbeddings,
    ) -> None:
        super().__init__(graph, size, generator, n_layers=settings.n_layers)
        self.tau, self.n_negatives = settings.tau, settings.n_negatives
        # An item that train does not have must not sink for being nobody's choice: it is no negative.
        degrees = graph.pattern.row_sums(torch.ones_like(graph.values))
        # Not persistent: input data has no place among the model's weights.
        self.register_buffer("known_items", degrees[graph.n_users :].nonzero().squeeze(1), persistent=False)
        self.register_buffer("texts", self.read(semantic, settings).to(graph.values.device), persistent=False)
        self.mapping = Adapter(self.texts.shape[1], size, generator, torch.float32)

    def read(self, semantic: SemanticEmbeddings, settings: AlphaRecSettings) -> Tensor:
        """What is mapped, (n, d_in): of items their vectors, of users the mean of those of their items."""
        items = torch.from_numpy(semantic.items).to(self.graph.values.device)
        known = items.any(dim=1, keepdim=True).to(items.dtype)
        both = F.pad(torch.cat([items, known], dim=1), (0, 0, self.graph.n_users, 0))
        sums = self.graph.pattern.multiply(torch.ones_like(self.graph.values), both)[: self.graph.n_users]
        return torch.cat([sums[:, :-1] / sums[:, -1:].clamp_min(1), items])

    def initial(self, generator: torch.Generator | None = None) -> Tensor:
        mapped: Tensor = self.mapping(self.texts)
        return mapped

    def encode(self, table: Tensor) -> Tensor:
        return F.normalize(super().encode(table), dim=1)

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = super().encode(table)
        return Step(nodes, {"softmax": self.softmax_loss(nodes, batch, generator)})

    def softmax_loss(self, nodes: Tensor, batch: Batch, generator: torch.Generator) -> Tensor:
        """The batch's positives against drawn items that train has, on a view of the nodes, (n_nodes, D)."""
        users, items = self.sides(nodes)
        negatives = self.known_items
        if self.n_negatives < len(negatives):
            drawn = torch.randint(len(negatives), (self.n_negatives,), generator=generator, device=negatives.device)
            negatives = negatives[drawn]
        return sampled_softmax(
            take(users, batch.users),
            take(items, batch.positives),
            take(items, negatives),
            tau=self.tau,
        )


BACKBONE = AlphaRec
