"""DCCF: propagation over the graph, over intents, and over two graphs weighted by similarity."""

from typing import Annotated, Any, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import MIN_TAU, info_nce
from rlmrec_core.models.graph.rows import Distinct, take


class _Layer(NamedTuple):
    """What one layer adds to its input, each (n_nodes, d)."""

    graph: Tensor
    intent: Tensor
    adaptive_graph: Tensor
    adaptive_intent: Tensor


class DCCFSettings(Section):
    """Hyper-parameters of DCCF."""

    n_layers: Annotated[int, SearchRange(1, 4)] = Field(2, ge=1, le=8, description="Propagation layers L")
    n_intents: int = Field(128, ge=1, description="Intents of each side")
    cl_weight: Annotated[float, SearchRange(1e-4, 0.1, log=True)] = Field(
        1e-3, ge=0, description="Weight of the contrasts"
    )
    cl_tau: Annotated[float, SearchRange(0.05, 1.0, log=True)] = Field(
        0.1, ge=MIN_TAU, description="Temperature of the contrasts"
    )


class DCCF(Backbone):
    r"""Ren et al., "Disentangled Contrastive Collaborative Filtering", SIGIR 2023.

    Per layer, G = A_hat E; I = softmax(E C) C^T with `n_intents` intents C per side; GA and IA propagate E over the
    edges weighted by (cos(head, tail) + 1) / 2 on G and on I, each row's weights divided by their sum;
    E' = G + I + GA + IA + E, and the sum over layers is the result. G is contrasted with each of I, GA and IA among
    the distinct users, and among the distinct positives, of the batch.
    """

    Settings = DCCFSettings

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, settings: DCCFSettings) -> None:
        super().__init__(graph, size, generator)
        self.n_layers, self.cl_weight, self.cl_tau = settings.n_layers, settings.cl_weight, settings.cl_tau
        self.user_intents, self.item_intents = (nn.Parameter(torch.empty(size, settings.n_intents)) for _ in range(2))
        for intents in (self.user_intents, self.item_intents):
            nn.init.xavier_uniform_(intents, generator=generator)

    def encode(self, table: Tensor) -> Tensor:
        return self._propagate(table)[0]

    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        nodes, layers = self._propagate(table)
        return Step(nodes, {"bpr": self.ranking_loss(nodes, batch), "cl": self.cl_weight * self._cl(layers, batch)})

    def _propagate(self, table: Tensor) -> tuple[Tensor, list[_Layer]]:
        nodes = total = table
        layers = []
        for _ in range(self.n_layers):
            layer = self._layer(nodes)
            layers.append(layer)
            nodes = layer.graph + layer.intent + layer.adaptive_graph + layer.adaptive_intent + nodes
            total = total + nodes
        return total, layers

    def _layer(self, nodes: Tensor) -> _Layer:
        graph = self.graph.adjacency.matmul(nodes)
        pairs = zip(self.sides(nodes), (self.user_intents, self.item_intents), strict=True)
        intent = torch.cat([torch.softmax(side @ intents, dim=1) @ intents.T for side, intents in pairs])
        return _Layer(graph, intent, self._adaptive(graph, nodes), self._adaptive(intent, nodes))

    def _adaptive(self, by: Tensor, nodes: Tensor) -> Tensor:
        """Propagate `nodes` over edges weighted by the cosine of their ends in `by`, both (n_nodes, d)."""
        unit = F.normalize(by, dim=1)
        weights = (self.graph.pattern.products(unit, unit) + 1) / 2
        return self.graph.pattern.weighted_mean(weights, nodes)

    def _cl(self, layers: list[_Layer], batch: Batch) -> Tensor:
        users = Distinct.of(batch.users, self.graph.n_users)
        items = Distinct.of(batch.positives, self.graph.n_items)
        # Item terms, too, are divided by the number of users, as in RLMRec's experiments.
        sides = (users.ids, users.once, 1.0), (items.ids + self.graph.n_users, items.once, items.n / users.n)
        total = layers[0].graph.new_zeros(())
        for layer in layers:
            for rows, once, share in sides:
                anchors, *views = (take(view, rows) for view in layer)
                own = torch.arange(len(rows), device=rows.device)
                counts: dict[str, Any] = {"anchor_counts": once, "key_counts": once, "tau": self.cl_tau}
                total = total + share * sum(info_nce(anchors, keys, own, **counts) for keys in views)
        return total


BACKBONE = DCCF
