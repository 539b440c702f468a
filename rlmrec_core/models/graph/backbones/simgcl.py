"""SimGCL: LightGCN with a contrast between two views with noise."""

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import MIN_TAU, contrast


class SimGCLSettings(Section):
    """Hyper-parameters of SimGCL."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(3, ge=1, le=8, description="Propagation layers L")
    cl_weight: Annotated[float, SearchRange(1e-3, 1.0, log=True)] = Field(
        0.1, ge=0, description="Weight of the contrast between the views"
    )
    cl_tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(
        0.2, ge=MIN_TAU, description="Temperature of the contrast"
    )
    eps: Annotated[float, SearchRange(0.01, 1.0, log=True)] = Field(0.9, ge=0, description="Length of the noise")
    cl_in_batch: bool = Field(False, description="Contrast within the batch, not with all nodes")


class SimGCL(LayerSum):
    r"""Yu et al., "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
    SIGIR 2022.

    Two views add eps * sign(h) * n / |n|, n uniform in [0, 1), to every row h after every layer but the initial one;
    users and positives of the batch are contrasted between them against all nodes of their side or, with `cl_in_batch`,
    against those of the batch. BPR and alignment take the clean view.
    """

    Settings = SimGCLSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: SimGCLSettings) -> None:
        super().__init__(graph, size, generator, n_layers=settings.n_layers)
        self.cl_weight, self.cl_tau = settings.cl_weight, settings.cl_tau
        self.eps, self.cl_in_batch = settings.eps, settings.cl_in_batch

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.encode(table)
        # sign() has no gradient, so a view's gradient is the clean view's: one backward propagation serves all three.
        views = (nodes + (self._view(table, generator) - nodes.detach()) for _ in range(2))
        (users, items), (other_users, other_items) = (self.sides(view) for view in views)
        cl = contrast(users, other_users, batch.users, tau=self.cl_tau, in_batch=self.cl_in_batch)
        cl = cl + contrast(items, other_items, batch.positives, tau=self.cl_tau, in_batch=self.cl_in_batch)
        return Step(nodes, {"bpr": self.ranking_loss(nodes, batch), "cl": self.cl_weight * cl})

    @torch.no_grad()
    def _view(self, table: Tensor, generator: torch.Generator) -> Tensor:
        layer = total = table
        for _ in range(self.n_layers):
            layer = self.graph.adjacency.matmul(layer)
            noise = torch.rand(layer.shape, generator=generator, dtype=layer.dtype, device=layer.device)
            layer = layer + self.eps * layer.sign() * F.normalize(noise, dim=1)
            total = total + layer
        return total


BACKBONE = SimGCL
