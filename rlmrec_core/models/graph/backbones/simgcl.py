"""SimGCL: LightGCN with a contrast between two views with noise."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import contrast


class SimGCL(LayerSum):
    r"""Yu et al., "Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation",
    SIGIR 2022.

    Two views add eps * sign(h) * n / |n|, n uniform in [0, 1), to every row h after every layer but the initial one;
    users and positives of the batch are contrasted between them against all nodes of their side or, with `cl_in_batch`,
    against those of the batch. BPR and alignment take the clean view.
    """

    def __init__(
        self,
        graph: Graph,
        size: int,
        generator: torch.Generator,
        *,
        n_layers: int = 3,
        cl_weight: float = 0.1,
        cl_tau: float = 0.2,
        eps: float = 0.9,
        cl_in_batch: bool = False,
    ) -> None:
        super().__init__(graph, size, generator, n_layers=n_layers)
        self.cl_weight, self.cl_tau, self.eps, self.cl_in_batch = cl_weight, cl_tau, eps, cl_in_batch

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
