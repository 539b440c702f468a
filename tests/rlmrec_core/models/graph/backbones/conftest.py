"""A graph small enough for dense matrices, and the formulas in their plainest form."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rlmrec_core.device import CPU, GPU, forced
from rlmrec_core.models.graph.backbones import Backbone, Batch, Step, backbone_class, build_backbone
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.sparse import SparseMatrix
from rlmrec_core.split import Edges, Split

SIZE = 8


def build(name: str, graph: Graph, size: int, generator: torch.Generator, **hyper: Any) -> Backbone:
    return build_backbone(name, graph, size, generator, backbone_class(name).Settings(**hyper))


def _split() -> Split:
    """Six users, five items, every user and item with a train interaction."""
    wanted = np.random.default_rng(3).random((6, 5)) < 0.4
    wanted[np.arange(6), np.arange(6) % 5] = True
    user, item = (ids.astype(np.int32) for ids in np.nonzero(wanted))
    return Split(6, 5, Edges(user, item), Edges(user[:0], item[:0]), Edges(user[:0], item[:0]))


class World:
    """One backbone on the small graph, in float64, next to the graph's dense adjacency."""

    def __init__(self, name: str, **hyper: Any) -> None:
        self.split = _split()
        graph = Graph.from_split(self.split)
        self.model = build(name, graph, SIZE, torch.Generator().manual_seed(0), **hyper).double()
        # The graph's values follow the model to float64, so that twins agree to more than rounding.
        object.__setattr__(self.model.graph, "values", self.model.graph.values.double())
        self.table = self.model.table
        self.batch = Batch(torch.tensor([0, 3, 3, 5, 0, 2]), torch.tensor([0, 3, 1, 0, 0, 2]), torch.tensor([4] * 6))

    @property
    def edges(self) -> torch.Tensor:
        """The 0/1 adjacency, (11, 11)."""
        dense = torch.zeros(11, 11, dtype=torch.float64)
        user, item = (torch.from_numpy(ids).long() for ids in self.split.train)
        dense[user, item + 6] = dense[item + 6, user] = 1
        return dense

    @property
    def adjacency(self) -> torch.Tensor:
        return normalised(self.edges)

    def step(self) -> Step:
        return self.model.step(self.table, self.batch, torch.Generator().manual_seed(1))

    def gathered(self, nodes: torch.Tensor) -> list[torch.Tensor]:
        users, items = nodes.split([6, 5])
        return [users[self.batch.users], items[self.batch.positives], items[self.batch.negatives]]

    def bpr(self, nodes: torch.Tensor) -> torch.Tensor:
        users, positives, negatives = self.gathered(nodes)
        return -F.logsigmoid((users * positives).sum(1) - (users * negatives).sum(1)).mean()

    def check(self, found: Any, expected: Any) -> None:
        """Equal values and equal gradients in every parameter that either depends on."""
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        parameters = list(self.model.parameters())
        mine, theirs = (
            torch.autograd.grad(value.sum(), parameters, retain_graph=True, materialize_grads=True)
            for value in (found, expected)
        )
        for one, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def normalised(edges: torch.Tensor) -> torch.Tensor:
    scale = edges.sum(1).clamp_min(1).rsqrt()
    return scale[:, None] * edges * scale


def layers(adjacency: torch.Tensor, table: torch.Tensor, n_layers: int) -> list[torch.Tensor]:
    return [torch.linalg.matrix_power(adjacency, layer) @ table for layer in range(n_layers + 1)]


def dense(matrix: SparseMatrix) -> torch.Tensor:
    pattern = matrix.pattern
    entries = torch.zeros(pattern.n_nodes, pattern.n_nodes, dtype=matrix.values.dtype)
    return entries.index_put((pattern.row, pattern.col), matrix.values)


def nce(anchors: torch.Tensor, positives: torch.Tensor, keys: torch.Tensor, tau: float) -> torch.Tensor:
    cosine = F.cosine_similarity(anchors[:, None], keys[None], dim=2) / tau
    return (-F.cosine_similarity(anchors, positives) / tau + cosine.exp().sum(1).log()).mean()


POLICIES = {"one tile": CPU, "nine tiles": replace(CPU, tile_nodes=4), "as on a GPU": replace(GPU, bag_edges=2)}


@pytest.fixture(params=POLICIES)
def world(request):
    with forced(POLICIES[request.param]):
        yield World


@pytest.fixture
def naive():
    """The formulas: naive.normalised, naive.layers, naive.dense, naive.nce."""

    class Naive:
        pass

    for formula in (normalised, layers, dense, nce):
        setattr(Naive, formula.__name__, staticmethod(formula))
    return Naive
