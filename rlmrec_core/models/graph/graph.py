"""The normalised bipartite graph of train interactions.

Edge dropout zeroes values on the fixed pattern: nothing is rebuilt at a step.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rlmrec_core.models.graph.sparse import Pattern, SparseMatrix
from rlmrec_core.split import Split


@dataclass(frozen=True)
class Graph:
    """Users 0..n_users-1 and items n_users..n_nodes-1, an edge in both directions for every train interaction.

    values: (n_edges,) float, the entries of D^-1/2 A D^-1/2 on the edges of `pattern`.
    """

    n_users: int
    n_items: int
    pattern: Pattern
    values: Tensor

    @classmethod
    def from_split(cls, split: Split, device: torch.device | str = "cpu") -> "Graph":
        """The graph of the train part."""
        user = torch.from_numpy(split.train.user).long()
        item = torch.from_numpy(split.train.item).long() + split.n_users
        n_nodes = split.n_users + split.n_items
        keys = torch.cat([user * n_nodes + item, item * n_nodes + user]).to(device)
        return cls._normalised(split.n_users, split.n_items, keys.sort().values)

    @classmethod
    def _normalised(cls, n_users: int, n_items: int, keys: Tensor) -> "Graph":
        # Here, since it takes seconds to import, which whoever only reads a trained model need not wait for.
        from torch_geometric.nn.conv.gcn_conv import gcn_norm

        pattern = Pattern.from_keys(keys, n_users + n_items)
        edges = torch.stack([pattern.row, pattern.col])
        _, values = gcn_norm(edges, num_nodes=pattern.n_nodes, add_self_loops=False)
        return cls(n_users, n_items, pattern, values)

    def with_self_loops(self) -> "Graph":
        """The graph of A + I in place of A, normalised by its own degrees."""
        loops = torch.arange(self.n_nodes, device=self.values.device) * (self.n_nodes + 1)
        return self._normalised(self.n_users, self.n_items, torch.cat([self.keys, loops]).sort().values)

    @property
    def n_nodes(self) -> int:
        """Users and items together."""
        return self.n_users + self.n_items

    @property
    def keys(self) -> Tensor:
        """row * n_nodes + column of every edge: (n_edges,) int64."""
        return self.pattern.row * self.n_nodes + self.pattern.col

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """The normalised adjacency matrix, (n_nodes, n_nodes)."""
        return SparseMatrix(self.pattern, self.values, self.values)

    def drop_edges(self, keep: float, generator: torch.Generator) -> SparseMatrix:
        """The adjacency with each directed edge kept with probability `keep`, on its own and without rescaling."""
        values = self.values
        drawn = torch.rand(values.shape, generator=generator, dtype=values.dtype, device=values.device)
        return self.pattern.matrix(drawn.lt_(keep).mul_(values))  # in place: memory asked for anew costs as much

    def without(self, users: Tensor, items: Tensor) -> SparseMatrix:
        """The adjacency without these train pairs, in both directions and without rescaling.

        users, items: (B,) int64, repeated ones allowed.
        """
        wanted = users * self.n_nodes + items + self.n_users
        keys, edges = self._edges_by_key
        there = edges[torch.searchsorted(keys, wanted)]
        values = self.values.index_fill(0, there, 0).index_fill_(0, self.pattern.reverse[there], 0)
        return SparseMatrix(self.pattern, values, values)

    @cached_property
    def _edges_by_key(self) -> tuple[Tensor, Tensor]:
        """The keys in ascending order, and the edge that has each. Both (n_edges,) int64."""
        found: tuple[Tensor, Tensor] = self.keys.sort()
        return found

    def keep_edges(self, kept: Tensor) -> SparseMatrix:
        """The adjacency of the edges where `kept` is true, normalised by their degrees.

        kept: (n_edges,) bool, the same for an edge and its reverse.
        """
        scale = self.pattern.row_sums(kept.to(self.values.dtype)).clamp_min(1).rsqrt()
        values = kept * scale[self.pattern.row] * scale[self.pattern.col]
        return SparseMatrix(self.pattern, values, values)
