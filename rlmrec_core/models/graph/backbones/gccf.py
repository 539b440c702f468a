"""GCCF: linear propagation, concatenated over layers."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step
from rlmrec_core.models.graph.graph import Graph


class GCCFSettings(Section):
    """Hyper-parameters of GCCF."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(2, ge=1, le=8, description="Propagation layers L")
    self_loops: Annotated[bool, SearchRange(choices=(False, True))] = Field(
        True, description="Propagate over A + I in place of A"
    )


class GCCF(Backbone):
    r"""Chen et al., "Revisiting Graph Based Collaborative Filtering: A Linear Residual Graph Convolutional Network
    Approach", AAAI 2020 (LR-GCCF).

    E = [E_0, A_hat E_0, ..., A_hat^L E_0], each node L + 1 layers wide. No weight matrix, as in RLMRec's experiments.
    With `self_loops`, A_hat is the normalised A + I.
    """

    Settings = GCCFSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: GCCFSettings) -> None:
        super().__init__(graph.with_self_loops() if settings.self_loops else graph, size, generator)
        self.n_layers = settings.n_layers

    def output_size(self, size: int) -> int:
        return (self.n_layers + 1) * size

    def encode(self, table: Tensor) -> Tensor:
        layers = [table]
        for _ in range(self.n_layers):
            layers.append(self.graph.adjacency.matmul(layers[-1]))
        return torch.cat(layers, dim=1)

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.encode(table)
        return Step(nodes, {"bpr": self.ranking_loss(nodes, batch)})


BACKBONE = GCCF
