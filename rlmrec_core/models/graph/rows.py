"""Rows of a table, gathered and added up again, in one order every time."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from rlmrec_core.device import policy


def take(table: Tensor, rows: Tensor) -> Tensor:
    """table[rows], differentiable in the table. table: (n, d); rows: (B,) int64, repeated ones allowed."""
    if not policy(table.device).asynchronous:
        return table.index_select(0, rows)
    taken: Tensor = _Take.apply(table, rows)  # type: ignore[no-untyped-call]
    return taken


class _Take(torch.autograd.Function):
    """`index_select`, but for a gradient whose sums have an order: torch adds atomically, in any."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.n_rows = len(table)
        return table.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return add_up(grads[0], ctx.saved_tensors[0], ctx.n_rows), None


def add_up(values: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """The sum of the values of each row, not differentiable. values: (B, d); rows: (B,) int64. Returns (n_rows, d)."""
    if not policy(values.device).asynchronous:
        return values.new_zeros(n_rows, values.shape[1]).index_add_(0, rows, values)
    ordered, order = rows.sort(stable=True)
    offsets = torch.searchsorted(ordered, torch.arange(n_rows + 1, device=rows.device))
    return embedding_bag(order, values.detach().contiguous(), offsets, mode="sum", include_last_offset=True)


class Distinct(NamedTuple):
    """The rows of a batch, each once; or all of them, with weights that come to the same.

    ids: (m,) int64; times: (m,), how often each stands for one of the batch, None where all do once; once: (m,),
    weights by which every distinct one counts once, None where all do or nobody asked.
    """

    ids: Tensor
    times: Tensor | None
    once: Tensor | None

    @property
    def n(self) -> float | Tensor:
        """How many are distinct."""
        return len(self.ids) if self.once is None else self.once.sum().round().float()

    @classmethod
    def of(cls, ids: Tensor, n_rows: int, *, once: bool = False) -> "Distinct":
        """ids: (B,) int64, less than n_rows; once: whether those weights are needed."""
        if not policy(ids.device).asynchronous:
            distinct, times = torch.unique(ids, return_counts=True)
            return cls(distinct, times, None)
        # How many are distinct is not known before they are counted, so that all stay.
        if not once:
            return cls(ids, None, None)
        times = torch.zeros(n_rows, dtype=ids.dtype, device=ids.device).index_add_(0, ids, torch.ones_like(ids))
        return cls(ids, None, times.index_select(0, ids).double().reciprocal())
