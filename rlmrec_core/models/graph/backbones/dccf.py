"""DCCF: propagation over the graph, over intents, and over two graphs weighted by similarity."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.config.search import SearchRange
from rlmrec_core.config.section import Section
from rlmrec_core.device import policy
from rlmrec_core.models.graph.backbones.base import Backbone, Batch, Step
from rlmrec_core.models.graph.contrasts import contrasts, unit
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
        ends = unit(by)
        weights = (self.graph.pattern.products(ends, ends) + 1) / 2
        return self.graph.pattern.weighted_mean(weights, nodes)

    def _cl(self, layers: list[_Layer], batch: Batch) -> Tensor:
        if policy(batch.users.device).asynchronous:
            return self._cl_at_once(layers, batch)
        users = Distinct.of(batch.users, self.graph.n_users)
        items = Distinct.of(batch.positives, self.graph.n_items)
        # Item terms, too, are divided by the number of users, as in RLMRec's experiments.
        sides = (users.ids, 1.0), (items.ids + self.graph.n_users, items.n / users.n)
        total = layers[0].graph.new_zeros(())
        for layer in layers:
            for rows, share in sides:
                anchors, *views = (take(view, rows) for view in layer)
                total = total + share * sum(info_nce(anchors, keys, None, tau=self.cl_tau) for keys in views)
        return total

    def _cl_at_once(self, layers: list[_Layer], batch: Batch) -> Tensor:
        """The same in one product for all layers, sides and views: both sides have as many rows as the batch."""
        rows = torch.cat([batch.users, batch.positives + self.graph.n_users])
        once = Distinct.of(rows, self.graph.n_nodes, once=True).once
        assert once is not None
        weights = once.unflatten(0, (2, -1)).to(layers[0].graph.dtype)  # (2, B)
        views = torch.cat([view for layer in layers for view in layer], dim=1)
        taken = unit(take(views, rows).unflatten(1, (len(layers), len(_Layer._fields), -1)))
        # (layers, sides, views, B, d)
        anchors, keys = taken.unflatten(0, (2, -1)).permute(2, 0, 3, 1, 4).split([1, len(_Layer._fields) - 1], dim=2)
        counts = weights.unsqueeze(1).expand(keys.shape[:-1]).flatten(0, 2)
        shares = counts / weights[0].sum()
        return contrasts(
            anchors.expand_as(keys).flatten(0, 2), keys.flatten(0, 2), None, shares, counts, tau=self.cl_tau
        )


BACKBONE = DCCF
