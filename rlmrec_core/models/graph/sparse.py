"""Sparse products on tiles of CSR with 32-bit indices, differentiable where backbones need it.

Every backward pass multiplies by a transpose kept at hand, or reached by permuting values on the same pattern.
docs/benchmarks/training-notes.md and docs/benchmarks/gpu.md have the reasons for the choice of kernels.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, pad

from rlmrec_core.device import policy


@dataclass(frozen=True)
class SparseMatrix:
    """A square sparse matrix next to its transpose, both on one pattern.

    values, transposed: (n_edges,), the entries of the matrix and of its transpose.
    """

    pattern: "Pattern"
    values: Tensor
    transposed: Tensor

    def matmul(self, dense: Tensor) -> Tensor:
        """A X, differentiable in X. dense: (n, d). Returns (n, d)."""
        product: Tensor = _Horner.apply(dense, self, 1, False)  # type: ignore[no-untyped-call]
        return product

    def sum_of_powers(self, dense: Tensor, n_powers: int) -> Tensor:
        """X + A X + ... + A^n X, the sum over the layers of a linear propagation. dense: (n, d). Returns (n, d)."""
        total: Tensor = _Horner.apply(dense, self, n_powers, True)  # type: ignore[no-untyped-call]
        return total


class Bags(NamedTuple):
    """Rows cut into bags of a few edges, each of which is summed by itself.

    offsets: (n_bags + 1,) int32, the first edge of each; places: (n_bags,) int32, 0, 1, ...; of_rows: (n_rows + 1,)
    int32, the first bag of each row.
    """

    offsets: Tensor
    places: Tensor
    of_rows: Tensor

    @classmethod
    def cut(cls, offsets: Tensor, size: int) -> "Bags | None":
        """Bags of `size` edges at most; None where every row is as short. offsets: (n_rows + 1,), of the edges."""
        degree = offsets.diff()
        counts = (degree + size - 1).div(size, rounding_mode="floor")
        if not len(counts) or int(counts.max()) < 2:
            return None
        of_rows = pad(counts.cumsum(0), (1, 0))
        row = torch.repeat_interleave(counts)
        within = torch.arange(len(row), device=row.device) - of_rows[row]
        starts = torch.cat([offsets[row] + within * size, offsets[-1:]])
        return cls(starts.int(), torch.arange(len(row), device=row.device, dtype=torch.int32), of_rows.int())


class Tile(NamedTuple):
    """The edges of some rows in some columns, as CSR.

    rows: of the matrix; edges: where they are in the pattern; offsets: (n_rows + 1,) int32; col: (n,) int32, counted
    over the whole matrix; bags: of its rows, where some are to be cut.
    """

    rows: slice
    edges: slice
    offsets: Tensor
    col: Tensor
    bags: Bags | None

    def csr(self, values: Tensor, n_nodes: int) -> Tensor:
        """The CSR tensor with these values, (n_rows, n_nodes). values: (n,)."""
        size = (len(self.offsets) - 1, n_nodes)
        # The pattern is ours and valid: checking it again at every step would cost more than the product.
        return torch.sparse_csr_tensor(self.offsets, self.col, values, size, check_invariants=False)

    def multiply(self, values: Tensor, dense: Tensor) -> Tensor:
        """These rows of the product, (n_rows, d). values: (n,); dense: (n_nodes, d)."""
        if policy(dense.device).csr:
            return self.csr(values, len(dense)) @ dense
        # A row of the product is a weighted bag of the dense rows: on CPU that kernel fetches ahead what it will read,
        # and takes a third of the time of the sparse product; on a GPU its sums have one order, which those of cuSPARSE
        # do not promise. Detached, or it would prepare a backward pass of its own.
        offsets = self.offsets if self.bags is None else self.bags.offsets
        sums = embedding_bag(
            self.col, dense.detach(), offsets,
            mode="sum", per_sample_weights=values.detach(), include_last_offset=True,
        )  # fmt: skip
        if self.bags is None:
            return sums
        return embedding_bag(self.bags.places, sums, self.bags.of_rows, mode="sum", include_last_offset=True)


@dataclass(frozen=True)
class Pattern:
    """Where a square matrix has entries, as often in (r, c) as in (c, r): the edges of a graph in both directions.

    Edges are ordered by tile, row and column; a graph of up to 65,536 nodes, or on a GPU, is one tile.
    row, col, reverse: (n_edges,) int64; edge reverse[e] runs opposite to e.
    """

    n_nodes: int
    row: Tensor
    col: Tensor
    reverse: Tensor

    @classmethod
    def from_keys(cls, keys: Tensor, n_nodes: int) -> "Pattern":
        """keys: row * n_nodes + column of each edge and of its reverse, ascending, (n_edges,) int64."""
        row, col = torch.div(keys, n_nodes, rounding_mode="floor"), keys % n_nodes
        by_row = cls(n_nodes, row, col, torch.argsort(col * n_nodes + row))
        return by_row if by_row._n_blocks == 1 else by_row._by_tile()

    def _by_tile(self) -> "Pattern":
        order = torch.argsort(self._tile_ids(), stable=True)
        place = torch.empty_like(order).index_copy_(0, order, torch.arange(len(order)))
        return Pattern(self.n_nodes, self.row[order], self.col[order], place[self.reverse[order]])

    @cached_property
    def _n_blocks(self) -> int:
        size = policy(self.row.device).tile_nodes
        return -(-self.n_nodes // size) if size else 1

    @property
    def _block_size(self) -> int:
        return -(-self.n_nodes // self._n_blocks)

    def _tile_ids(self) -> Tensor:
        # Column by column: the tiles that read the same part of an operand follow one another.
        size = self._block_size
        return self.col.div(size, rounding_mode="floor") * self._n_blocks + self.row.div(size, rounding_mode="floor")

    @cached_property
    def tiles(self) -> list[Tile]:
        """All that have edges, or the only one."""
        if self._n_blocks == 1:
            return [self._tile(0, slice(0, len(self.row)))]
        counts = torch.bincount(self._tile_ids(), minlength=1).tolist()
        ends = list(accumulate(counts, initial=0))
        return [self._tile(i, slice(*ends[i : i + 2])) for i, n in enumerate(counts) if n]

    def _tile(self, number: int, edges: slice) -> Tile:
        first = number % self._n_blocks * self._block_size
        rows = slice(first, min(first + self._block_size, self.n_nodes))
        degree = torch.bincount(self.row[edges] - first, minlength=rows.stop - first)
        offsets, size = pad(degree.cumsum(0), (1, 0)), policy(self.row.device).bag_edges
        bags = Bags.cut(offsets, size) if size else None
        return Tile(rows, edges, offsets.int(), self.col[edges].int(), bags)

    def matrix(self, values: Tensor) -> SparseMatrix:
        """The matrix with these values, (n_edges,), which need not be symmetric."""
        return SparseMatrix(self, values, values.index_select(0, self.reverse))

    def multiply(self, values: Tensor, dense: Tensor) -> Tensor:
        """The product with these values, not differentiable. values: (n_edges,); dense: (n, d). Returns (n, d)."""
        if self._n_blocks == 1:
            return self.tiles[0].multiply(values, dense)
        total = torch.zeros_like(dense)
        for tile in self.tiles:
            total[tile.rows] += tile.multiply(values[tile.edges], dense)
        return total

    def row_sums(self, values: Tensor) -> Tensor:
        """Sum over each row's edges, differentiable. values: (n_edges,). Returns (n_nodes,)."""
        if policy(values.device).asynchronous:  # `index_add` would sum in any order
            return self.weighted_sum(values, values.new_ones(self.n_nodes, 1)).squeeze(1)
        return values.new_zeros(self.n_nodes).index_add(0, self.row, values)

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
        least = torch.finfo(weights.dtype).tiny
        if policy(weights.device).asynchronous:  # one product gives both
            both = self.weighted_sum(weights, pad(dense, (0, 1), value=1))
            return both[:, :-1] / both[:, -1:].clamp_min(least)
        total = self.row_sums(weights).clamp_min(least)
        return self.weighted_sum(weights, dense) / total.unsqueeze(1)


class _Horner(torch.autograd.Function):
    """h <- [X +] A h, n times from h = X. Its gradient is the same rule with A's transpose."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix, times: int, add_dense: bool) -> Tensor:
        ctx.rule = matrix.pattern, matrix.transposed, times, add_dense
        return _horner(dense, matrix.pattern, matrix.values, times, add_dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return _horner(grads[0].contiguous(), *ctx.rule), None, None, None


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
        return ctx.pattern.multiply(matrix.values, right), ctx.pattern.multiply(matrix.transposed, left), None


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dense: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, dense)
        ctx.pattern = pattern
        return pattern.multiply(values, dense)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, dense = ctx.saved_tensors
        pattern, grad = ctx.pattern, grads[0].contiguous()
        in_dense = None
        if ctx.needs_input_grad[1]:
            in_dense = pattern.multiply(values.index_select(0, pattern.reverse), grad)
        return _edge_products(grad, dense, pattern) if ctx.needs_input_grad[0] else None, in_dense, None


def _horner(dense: Tensor, pattern: Pattern, values: Tensor, times: int, add_dense: bool) -> Tensor:
    result = dense
    for _ in range(times):
        result = pattern.multiply(values, result)
        if add_dense:
            result += dense
    return result


def _edge_products(left: Tensor, right: Tensor, pattern: Pattern) -> Tensor:
    # Never holds the whole (n_edges, d) operands that left[row] * right[col] would make.
    held = policy(left.device).gathered // left.shape[1]
    if held:
        parts = zip(pattern.row.split(held), pattern.col.split(held), strict=True)
        ends = ((left.index_select(0, row), right.index_select(0, col)) for row, col in parts)
        return torch.cat([torch.linalg.vecdot(*pair) for pair in ends])
    values = left.new_zeros(len(pattern.col))
    for tile in pattern.tiles:
        empty = tile.csr(values[tile.edges], pattern.n_nodes)
        values[tile.edges] = torch.sparse.sampled_addmm(empty, left[tile.rows], right.T, beta=0).values()
    return values
