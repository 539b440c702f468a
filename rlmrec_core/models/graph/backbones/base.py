"""The contract of a backbone: what training, alignment and inference ask of it."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rlmrec_core.config.section import Section
from rlmrec_core.models.graph.graph import Graph
from rlmrec_core.models.graph.losses import bpr
from rlmrec_core.vectors import Vectors


class Batch(NamedTuple):
    """Train pairs of one step. users, positives, negatives: (B,) int64 ids; negatives None where none are needed."""

    users: Tensor
    positives: Tensor
    negatives: Tensor | None


class Step(NamedTuple):
    """What one training step of a backbone gives.

    nodes: (n_nodes, D), the view to be aligned, users first; losses: weighted scalars by name, to be summed.
    """

    nodes: Tensor
    losses: dict[str, Tensor]


class Backbone(nn.Module, ABC):
    """A graph recommender over one table of initial embeddings.

    A subclass declares its hyper-parameters as `Settings`, keeps what must survive a checkpoint in parameters and
    buffers, and draws random numbers from the generator it is given. It knows nothing of alignment: the table handed
    to `encode` and `step` may be the model's own or one with masked rows, of any width.

    Attributes:
        Settings: The class of its hyper-parameters. Where that is a `SemanticSettings`, the constructor takes the
            semantic vectors as a fifth argument.
        samples_negatives: Whether a batch comes with a negative for each pair.
        has_table: Whether it learns a vector for every id.
        steps_alike: Whether every step does the same on tensors of the same shapes, so that one can stand for all.
    """

    Settings: ClassVar[type[Section]] = Section
    samples_negatives: ClassVar[bool] = True
    has_table: ClassVar[bool] = True
    steps_alike: ClassVar[bool] = True

    def __init__(self, graph: Graph, size: int, generator: torch.Generator) -> None:
        """size: width of what is propagated. A subclass takes its settings as a fourth argument."""
        super().__init__()
        self.graph = graph
        if self.has_table:
            self.draw_table(size, generator)

    def draw_table(self, size: int, generator: torch.Generator) -> None:
        """Start from a fresh table of width `size`: less than is propagated, where an alignment adds columns."""
        table = torch.empty(self.graph.n_nodes, size)
        for side in table.split([self.graph.n_users, self.graph.n_items]):
            nn.init.xavier_uniform_(side, generator=generator)
        self.table = nn.Parameter(table)

    @torch.no_grad()
    def start_table(self, start: Vectors) -> None:
        """Put the rows of another model's table in the place of fresh ones, but for those that are NaN.

        Raises ValueError if there is no table, or one of another width.
        """
        if not self.has_table:
            raise ValueError(f"{type(self).__name__} has no id table that start_from could fill: leave it out")
        rows = torch.from_numpy(np.concatenate(start)).to(self.table.device)
        if rows.shape != self.table.shape:
            raise ValueError(
                f"the model to start from has embeddings of {rows.shape[1]} components, this one of "
                f"{self.table.shape[1]}: set train.embedding_size={rows.shape[1]}"
            )
        known = ~rows.isnan().any(dim=1)
        self.table[known] = rows[known]

    def initial(self, generator: torch.Generator | None = None) -> Tensor:
        """What is propagated, (n_nodes, size): the table, or what a backbone makes of texts.

        generator: of a training step, for a backbone that leaves out some of it there; None for the whole.
        """
        return self.table

    def output_size(self, size: int) -> int:
        """Width D of the nodes' vectors for a table of width `size`."""
        return size

    def begin_epoch(self) -> None:
        """Called before the first step of every epoch: what a backbone keeps between steps must end here.

        A checkpoint is taken between epochs and holds parameters and buffers only.
        """

    @abstractmethod
    def encode(self, table: Tensor) -> Tensor:
        """Vectors for ranking by dot product: (n_nodes, size) to (n_nodes, D), no dropout, noise or masking."""

    @abstractmethod
    def step(self, table: Tensor, batch: Batch, generator: torch.Generator) -> Step:
        """The view and the losses of one training step."""

    def sides(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Split (n_nodes, D) into users (n_users, D) and items (n_items, D)."""
        users, items = nodes.split([self.graph.n_users, self.graph.n_items])
        return users, items

    def ranking_loss(self, nodes: Tensor, batch: Batch) -> Tensor:
        """BPR on a view of the nodes, (n_nodes, D). Raises ValueError on a batch without negatives."""
        if batch.negatives is None:
            raise ValueError(f"{type(self).__name__} ranks against negatives: leave samples_negatives true")
        first_item = self.graph.n_users
        return bpr(nodes, batch.users, batch.positives + first_item, batch.negatives + first_item)


class LayerSum(Backbone):
    """A backbone that ranks by the sum over l = 0..L of A_hat^l E_0, the vectors of LightGCN."""

    def __init__(self, graph: Graph, size: int, generator: torch.Generator, *, n_layers: int) -> None:
        super().__init__(graph, size, generator)
        self.n_layers = n_layers

    def encode(self, table: Tensor) -> Tensor:
        return self.graph.adjacency.sum_of_powers(table, self.n_layers)
