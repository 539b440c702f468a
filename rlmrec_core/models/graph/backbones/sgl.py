"""SGL: LightGCN with a contrast between two edge-dropped views."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Batch, LayerSum, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import MIN_TAU, contrast


class SGLSettings(Section):
    """Hyper-parameters of SGL."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(3, ge=1, le=8, description="Propagation layers L")
    edge_keep: Annotated[float, SearchRange(0.5, 1.0)] = Field(
        0.8, gt=0, le=1, description="Probability of keeping a directed edge in a view"
    )
    cl_weight: Annotated[float, SearchRange(1e-3, 1.0, log=True)] = Field(
        0.1, ge=0, description="Weight of the contrast between the views"
    )
    cl_tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(
        0.2, ge=MIN_TAU, description="Temperature of the contrast"
    )
    cl_in_batch: bool = Field(False, description="Contrast within the batch, not with all nodes")


class SGL(LayerSum):
    r"""Wu et al., "Self-supervised Graph Learning for Recommendation", SIGIR 2021, with edge dropout (SGL-ED).

    Two views keep each directed edge with probability `edge_keep`; users, positives and negatives of the batch are
    contrasted between them against all nodes of their side or, with `cl_in_batch`, against those of the batch. BPR and
    alignment take the clean view.
    """

    Settings = SGLSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: SGLSettings) -> None:
        super().__init__(graph, size, generator, n_layers=settings.n_layers)
        self.edge_keep, self.cl_weight = settings.edge_keep, settings.cl_weight
        self.cl_tau, self.cl_in_batch = settings.cl_tau, settings.cl_in_batch

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes = self.encode(table)
        bpr = self.ranking_loss(nodes, batch)
        (users, items), (other_users, other_items) = (self.sides(self._view(table, generator)) for _ in range(2))
        assert batch.negatives is not None
        # Positives and negatives share their denominator: one mean over both, doubled, is the sum of their means.
        both = torch.cat([batch.positives, batch.negatives])
        cl = contrast(users, other_users, batch.users, tau=self.cl_tau, in_batch=self.cl_in_batch)
        cl = cl + 2 * contrast(items, other_items, both, tau=self.cl_tau, in_batch=self.cl_in_batch)
        return Step(nodes, {"bpr": bpr, "cl": self.cl_weight * cl})

    def _view(self, table: Tensor, generator: torch.Generator) -> Tensor:
        return self.graph.drop_edges(self.edge_keep, generator).sum_of_powers(table, self.n_layers)


BACKBONE = SGL
