"""LightGCN: linear propagation, summed over layers."""

import torch
from torch import Tensor

from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph


class LightGCN(LayerSum):
    r"""He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.

    E = sum over l = 0..L of A_hat^l E_0, a sum as in RLMRec where the original takes the mean. While training, each
    directed edge is kept with probability `edge_keep`, drawn anew at every step.
    """

    def __init__(
        self, graph: Graph, size: int, generator: torch.Generator, *, n_layers: int = 3, edge_keep: float = 0.8
    ) -> None:
        super().__init__(graph, size, generator, n_layers=n_layers)
        self.edge_keep = edge_keep

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.graph.drop_edges(self.edge_keep, generator).sum_of_powers(table, self.n_layers)
        return Step(nodes, {"bpr": self.ranking_loss(nodes, batch)})


BACKBONE = LightGCN
