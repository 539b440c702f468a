"""The normalised bipartite graph of train interactions and its sparse products.

Products run on CSR with 32-bit indices and a backward pass that multiplies by a transpose kept at hand; edge dropout
zeroes values on the fixed pattern. docs/decisions.md has the measurements behind both.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from rlmrec_core.split import Split


@dataclass(frozen=True)
class SparseMatrix:
    """A square sparse matrix next to its transpose, both CSR (n, n)."""

    matrix: Tensor
    transpose: Tensor

    def matmul(self, dense: Tensor) -> Tensor:
        """A X, differentiable in X. dense: (n, d). Returns (n, d)."""
        product: Tensor = _Horner.apply(dense, self.matrix, self.transpose, 1, False)  # type: ignore[no-untyped-call]
        return product

    def sum_of_powers(self, dense: Tensor, n_powers: int) -> Tensor:
        """X + A X + ... + A^n X, the sum over the layers of a linear propagation. dense: (n, d). Returns (n, d)."""
        total: Tensor = _Horner.apply(dense, self.matrix, self.transpose, n_powers, True)  # type: ignore[no-untyped-call]
        return total


class _Horner(torch.autograd.Function):
    """h <- [X +] A h, n times from h = X. Its gradient is the same rule with A's transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transpose: Tensor, times: int, add_dense: bool) -> Tensor:
        ctx.rule = transpose, times, add_dense
        return _horner(dense, matrix, times, add_dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _horner(grads[0].contiguous(), *ctx.rule), None, None, None, None


def _horner(dense: Tensor, matrix: Tensor, times: int, add_dense: bool) -> Tensor:
    result = dense
    for _ in range(times):
        # addmm skips the layout conversions of `matrix @ result`; beta = 0 ignores the first operand.
        result = torch.addmm(dense, matrix, result, beta=int(add_dense))
    return result


@dataclass(frozen=True)
class Graph:
    """Users 0..n_users-1 and items n_users..n_nodes-1, an edge in both directions for every train interaction.

    Edges are ordered by row, then column. row, col, reverse: (n_edges,) int64, where edge reverse[e] runs
    opposite to e; values: (n_edges,) float, the entries of D^-1/2 A D^-1/2.
    """

    n_users: int
    n_items: int
    row: Tensor
    col: Tensor
    reverse: Tensor
    values: Tensor

    @classmethod
    def from_split(cls, split: Split, device: torch.device | str = "cpu", *, self_loops: bool = False) -> "Graph":
        """The graph of the train part; with `self_loops`, A + I takes the place of A."""
        user = torch.from_numpy(split.train.user).long()
        item = torch.from_numpy(split.train.item).long() + split.n_users
        n_nodes = split.n_users + split.n_items
        loops = torch.arange(n_nodes if self_loops else 0)
        row, col = torch.cat([user, item, loops]), torch.cat([item, user, loops])
        order = torch.argsort(row * n_nodes + col)
        row, col = row[order], col[order]
        reverse = torch.argsort(col * n_nodes + row)
        _, values = gcn_norm(torch.stack([row, col]), num_nodes=n_nodes, add_self_loops=False)
        return cls(split.n_users, split.n_items, *(part.to(device) for part in (row, col, reverse, values)))

    @property
    def n_nodes(self) -> int:
        """Users and items together."""
        return self.n_users + self.n_items

    @cached_property
    def adjacency(self) -> SparseMatrix:
        """The normalised adjacency matrix, (n_nodes, n_nodes)."""
        matrix = self._csr(self.values)
        return SparseMatrix(matrix, matrix)

    def with_values(self, values: Tensor) -> SparseMatrix:
        """Other values on the same edges. values: (n_edges,)."""
        return SparseMatrix(self._csr(values), self._csr(values.index_select(0, self.reverse)))

    def drop_edges(self, keep: float, generator: torch.Generator) -> SparseMatrix:
        """The adjacency with each directed edge kept with probability `keep`, on its own and without rescaling."""
        kept = torch.rand(self.values.shape, generator=generator, device=self.values.device) < keep
        return self.with_values(self.values * kept)

    @cached_property
    def _pattern(self) -> tuple[Tensor, Tensor]:
        degree = torch.bincount(self.row, minlength=self.n_nodes)
        offsets = torch.nn.functional.pad(degree.cumsum(0), (1, 0))
        return offsets.int(), self.col.int()

    def _csr(self, values: Tensor) -> Tensor:
        size = (self.n_nodes, self.n_nodes)
        # The pattern is ours and valid: checking it again at every step would cost more than the product.
        return torch.sparse_csr_tensor(*self._pattern, values, size, check_invariants=False)
