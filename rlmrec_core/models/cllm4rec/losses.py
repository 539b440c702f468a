"""Losses of CLLM4Rec: multinomial log-likelihood over a head, and mutual regularisation. Both know their gradients."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_CHUNK_LOGITS = 1 << 21
"""Logits held at once, 8 MiB: a matrix of all rows x the whole head never exists."""


def multinomial_nll(hidden: Tensor, head: Tensor, rows: Tensor, targets: Tensor, *, bf16: bool = False) -> Tensor:
    """Sum over the pairs of -log softmax(hidden[row] @ head.T)[target] (CLLM4Rec, eqs. 4, 5 and 10), in nats.

    hidden: (n, d); head: (J, d); rows, targets: (m,) int64, ordered by row. A row may have any number of targets:
    one makes this the cross-entropy, several the multinomial likelihood. Logits and both gradients are made a chunk
    of rows at a time. bf16: the products in bfloat16, sums in float32. Returns a scalar.
    """
    result: Tensor = _MultinomialNll.apply(hidden, head, rows, targets, bf16)  # type: ignore[no-untyped-call]
    return result


class _MultinomialNll(torch.autograd.Function):
    """The gradients are made along with the value, while a chunk's logits are in cache."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, rows: Tensor, targets: Tensor, bf16: bool) -> Tensor:
        needs_hidden, needs_head = ctx.needs_input_grad[:2]
        left, right = (hidden.bfloat16(), head.bfloat16()) if bf16 else (hidden, head)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_head = torch.zeros_like(head) if needs_head else None
        counts = torch.bincount(rows, minlength=len(hidden))
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        step = max(1, _CHUNK_LOGITS // len(head))
        total = hidden.new_zeros(())
        for start in range(0, len(hidden), step):
            stop = min(start + step, len(hidden))
            pairs = slice(int(offsets[start]), int(offsets[stop]))
            at = (rows[pairs] - start, targets[pairs])
            weight = counts[start:stop].to(hidden.dtype)
            logits = (left[start:stop] @ right.T).to(hidden.dtype)
            total -= logits[at].sum()
            norm = logits.logsumexp(1)
            total += weight @ norm
            if not (needs_hidden or needs_head):
                continue
            # What follows is the gradient in the logits: count x softmax - targets.
            logits.sub_((norm - weight.log()).unsqueeze(1)).exp_()
            logits.index_put_(at, logits.new_full((1,), -1.0), accumulate=True)
            slope = logits.bfloat16() if bf16 else logits
            if grad_hidden is not None:
                grad_hidden[start:stop] = slope @ right
            if grad_head is not None:
                grad_head += slope.T @ left[start:stop]
        ctx.save_for_backward(grad_hidden, grad_head)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_head = ctx.saved_tensors
        return (
            None if grad_hidden is None else grad_hidden * grad_output,
            None if grad_head is None else grad_head * grad_output,
            None,
            None,
            None,
        )


def squared_distance(table: Tensor, other: Tensor | None, nodes: Tensor, counts: Tensor) -> Tensor:
    """Half the sum over nodes of count * |table[node] - other[node]|^2; without `other` of count * |table[node]|^2.

    The mutual regularisation of CLLM4Rec (eqs. 6 to 9) over a batch's occurrences of users and items, and its prior.
    table, other: (n, d), `other` held fixed; nodes: (m,) int64, distinct; counts: (m,). Its gradient,
    count * (table - other), is written down, not traced through every occurrence.
    """
    result: Tensor = _SquaredDistance.apply(table, other, nodes, counts)  # type: ignore[no-untyped-call]
    return result


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, other: Tensor | None, nodes: Tensor, counts: Tensor) -> Tensor:
        difference = table[nodes] if other is None else table[nodes] - other[nodes]
        slope = difference * counts.to(table.dtype).unsqueeze(1)
        ctx.save_for_backward(slope, nodes)
        ctx.size = len(table)
        return (slope * difference).sum() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        slope, nodes = ctx.saved_tensors
        grad = slope.new_zeros(ctx.size, slope.shape[1])
        return grad.index_copy_(0, nodes, slope * grad_output), None, None, None
