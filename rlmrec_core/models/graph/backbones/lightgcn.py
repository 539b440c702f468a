"""LightGCN: linear propagation, summed over layers."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph


class LightGCNSettings(Section):
    """Hyper-parameters of LightGCN."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(3, ge=1, le=8, description="Propagation layers L")
    edge_keep: Annotated[float, SearchRange(0.5, 1.0)] = Field(
        0.8, gt=0, le=1, description="Probability of keeping a directed edge in a training step"
    )


class LightGCN(LayerSum):
    r"""He et al., "LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation", SIGIR 2020.

    E = sum over l = 0..L of A_hat^l E_0, a sum as in RLMRec where the original takes the mean. While training, each
    directed edge is kept with probability `edge_keep`, drawn anew at every step.
    """

    Settings = LightGCNSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: LightGCNSettings) -> None:
        super().__init__(graph, size, generator, n_layers=settings.n_layers)
        self.edge_keep = settings.edge_keep

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.graph.drop_edges(self.edge_keep, generator).sum_of_powers(table, self.n_layers)
        return Step(nodes, {"bpr": self.ranking_loss(nodes, batch)})


BACKBONE = LightGCN
