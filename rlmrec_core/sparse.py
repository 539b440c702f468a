"""Sparse products on CSR with 32-bit indices, differentiable where backbones need it.

Every backward pass multiplies by a transpose kept at hand, or reached by permuting values on the same pattern.
docs/benchmarks/training-notes.md has the measurements behind the choice of kernels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


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


@dataclass(frozen=True)
class Pattern:
    """Where a square matrix has entries, as often in (r, c) as in (c, r): the edges of a graph in both directions.

    Edges are ordered by row, then column. row, col, reverse: (n_edges,) int64; edge reverse[e] runs opposite to e.
    """

    n_nodes: int
    row: Tensor
    col: Tensor
    reverse: Tensor

    @classmethod
    def from_keys(cls, keys: Tensor, n_nodes: int) -> "Pattern":
        """keys: row * n_nodes + column of each edge and of its reverse, ascending, (n_edges,) int64."""
        row, col = torch.div(keys, n_nodes, rounding_mode="floor"), keys % n_nodes
        return cls(n_nodes, row, col, torch.argsort(col * n_nodes + row))

    @cached_property
    def offsets(self) -> Tensor:
        """Where each row starts among the edges: (n_nodes + 1,) int64."""
        degree = torch.bincount(self.row, minlength=self.n_nodes)
        return torch.nn.functional.pad(degree.cumsum(0), (1, 0))

    @cached_property
    def _indices(self) -> tuple[Tensor, Tensor]:
        return self.offsets.int(), self.col.int()

    def csr(self, values: Tensor) -> Tensor:
        """The CSR tensor with these values, (n_edges,)."""
        size = (self.n_nodes, self.n_nodes)
        # The pattern is ours and valid: checking it again at every step would cost more than the product.
        return torch.sparse_csr_tensor(*self._indices, values, size, check_invariants=False)

    def matrix(self, values: Tensor) -> SparseMatrix:
        """The matrix with these values, (n_edges,), which need not be symmetric."""
        return SparseMatrix(self.csr(values), self.csr(values.index_select(0, self.reverse)))

    def row_sums(self, values: Tensor) -> Tensor:
        """Sum over each row's edges, differentiable. values: (n_edges,). Returns (n_nodes,)."""
        return torch.segment_reduce(values, "sum", offsets=self.offsets, initial=0)

    def products(self, left: Tensor, right: Tensor) -> Tensor:
        """Dot product of left[row] and right[col] for every edge, differentiable in both.

        left, right: (n_nodes, d). Returns (n_edges,).
        """
        values: Tensor = _EdgeProducts.apply(left, right, self)  # type: ignore[no-untyped-call]
        return values

    def weighted_sum(self, values: Tensor, dense: Tensor) -> Tensor:
        """Sum over each row's edges of value times dense[col], differentiable in both.

        values: (n_edges,); dense: (n_nodes, d). Returns (n_nodes, d).
        """
        total: Tensor = _WeightedSum.apply(values, dense, self)  # type: ignore[no-untyped-call]
        return total

    def weighted_mean(self, weights: Tensor, dense: Tensor) -> Tensor:
        """`weighted_sum` with each row's weights divided by their sum; zeros for a row without edges."""
        total = self.row_sums(weights).clamp_min(torch.finfo(weights.dtype).tiny)
        return self.weighted_sum(weights, dense) / total.unsqueeze(1)


class _Horner(torch.autograd.Function):
    """h <- [X +] A h, n times from h = X. Its gradient is the same rule with A's transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: Tensor, transpose: Tensor, times: int, add_dense: bool) -> Tensor:
        ctx.rule = transpose, times, add_dense
        return _horner(dense, matrix, times, add_dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return _horner(grads[0].contiguous(), *ctx.rule), None, None, None, None


class _EdgeProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(left, right)
        ctx.pattern = pattern
        return _edge_products(left, right, pattern)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        left, right = ctx.saved_tensors
        matrix = ctx.pattern.matrix(grads[0])
        return _multiply(matrix.matrix, right), _multiply(matrix.transpose, left), None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, dense)
        ctx.pattern = pattern
        return _multiply(pattern.csr(values), dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        values, dense = ctx.saved_tensors
        pattern, grad = ctx.pattern, grads[0].contiguous()
        transpose = pattern.csr(values.index_select(0, pattern.reverse))
        return _edge_products(grad, dense, pattern), _multiply(transpose, grad), None


def _horner(dense: Tensor, matrix: Tensor, times: int, add_dense: bool) -> Tensor:
    result = dense
    for _ in range(times):
        result = _multiply(matrix, result)
        if add_dense:
            result += dense
    return result


def _multiply(matrix: Tensor, dense: Tensor) -> Tensor:
    if dense.device.type != "cpu":
        return matrix @ dense
    # A row of the product is a weighted bag of the dense rows: on CPU that kernel fetches ahead what it will read, and
    # takes a third of the time of the sparse product. Detached, since it would prepare a backward pass of its own.
    return embedding_bag(
        matrix.col_indices(), dense.detach(), matrix.crow_indices(),
        mode="sum", per_sample_weights=matrix.values(), include_last_offset=True,
    )  # fmt: skip


def _edge_products(left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
    # Never holds the (n_edges, d) operands that left[row] * right[col] would make.
    empty = pattern.csr(left.new_zeros(len(pattern.col)))
    values: Tensor = torch.sparse.sampled_addmm(empty, left, right.T, beta=0).values()
    return values
