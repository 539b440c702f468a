"""InfoNCE as a GPU computes it: several contrasts at once, in few and large kernels.

`losses.info_nce` is the same in the cache of a CPU, where what a chunk needs is kept as small as can be.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_core.device import policy

_SHORTEST = 1e-12
"""By which a vector is divided at least, as in `normalize`."""


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length one, zeros for zeros. vectors: (..., d)."""
    if not policy(vectors.device).asynchronous:
        return F.normalize(vectors, dim=-1)
    scaled: Tensor = _Unit.apply(vectors)  # type: ignore[no-untyped-call]
    return scaled


def contrasts(
    anchors: Tensor,
    keys: Tensor,
    own_keys: Tensor | None,
    weights: Tensor,
    counts: Tensor | None,
    *,
    tau: float,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Sum over sets s and anchors b of weight_sb (-a . own key / tau + log sum over keys of count_k exp(a . k / tau)).

    anchors: (S, B, d); keys: (S, K, d); own_keys: (S, B, d), None where row b of `keys` is anchor b's; weights: (S, B);
    counts: (S, K), None for ones. All vectors have length one. dtype: of the logits and of the operands of the large
    products, where it is not that of the vectors. Returns a scalar in nats.
    """
    total: Tensor = _Contrasts.apply(anchors, keys, own_keys, weights, counts, tau, dtype)  # type: ignore[no-untyped-call]
    return total


class _Unit(torch.autograd.Function):
    """`normalize`, whose own backward pass takes three times as many kernels."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True).clamp_(min=_SHORTEST)
        scaled: Tensor = vectors / lengths
        ctx.save_for_backward(scaled, lengths)
        return scaled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        scaled, lengths = ctx.saved_tensors
        along = (grads[0] * scaled).sum(-1, keepdim=True)
        across: Tensor = torch.addcmul(grads[0], scaled, along, value=-1)
        return across.div_(lengths)


class _Contrasts(torch.autograd.Function):
    """All gradients are taken at once: of the logits nothing is kept. Their exponentials stay in range (MIN_TAU)."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        keys: Tensor,
        own_keys: Tensor | None,
        weights: Tensor,
        counts: Tensor | None,
        tau: float,
        dtype: torch.dtype | None,
    ) -> Tensor:
        softmax = _Softmax(keys, counts, tau, dtype or keys.dtype)
        held = max(1, policy(keys.device).logits // max(keys[..., 0].numel(), 1))
        parts = zip(anchors.split(held, 1), weights.unsqueeze(2).split(held, 1), strict=True)
        sums, grads = zip(*(softmax(*part, with_keys=ctx.needs_input_grad[1]) for part in parts), strict=True)
        weight, own = weights.unsqueeze(2), keys if own_keys is None else own_keys
        nats = _joined(sums).log2().mul_(math.log(2)).sub_((anchors * own).sum(2, keepdim=True), alpha=1 / tau)
        in_anchors = _joined(grads).addcmul_(own, weight, value=-1).div_(tau)
        in_own, in_keys = anchors * (weight * (-1 / tau)), softmax.grad_keys
        if in_keys is not None:
            in_keys = in_keys.div_(tau) if counts is None else in_keys.mul_(counts.unsqueeze(2) / tau)
            if own_keys is None:
                in_keys += in_own
        ctx.grads = in_anchors, in_keys, None if own_keys is None else in_own
        return (nats * weight).sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if grad is None else grads[0] * grad for grad in ctx.grads), *(None,) * 4


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class _Softmax:
    """sum_k count_k exp(a . key_k / tau) for some anchors of every set at a time.

    grad_keys: (S, K, d), of what was asked for so far the gradient of the weighted log sums in one of each key's
    repetitions, times tau.
    """

    def __init__(self, keys: Tensor, counts: Tensor | None, tau: float, dtype: torch.dtype) -> None:
        self.scale, self.dtype, self.kept = 1 / (tau * math.log(2)), dtype, keys.dtype
        self.keys = keys.to(dtype)
        self.counts = None if counts is None else counts.unsqueeze(2).to(dtype)
        self.counted = self.keys if counts is None else (keys * counts.unsqueeze(2)).to(dtype)
        self.grad_keys: Tensor | None = None

    def __call__(self, anchors: Tensor, weight: Tensor, *, with_keys: bool) -> tuple[Tensor, Tensor]:
        """The sums, (S, b, 1), and tau times the gradient of their weighted logs in the anchors, (S, b, d)."""
        terms = torch.bmm((anchors * self.scale).to(self.dtype), self.keys.mT).exp2_()
        if self.counts is None:
            sums = terms.sum(2, keepdim=True, dtype=self.kept)
        else:
            sums = torch.bmm(terms, self.counts).to(self.kept)
        shares = weight / sums.clamp_(min=torch.finfo(self.kept).tiny)
        if with_keys:
            found = torch.bmm(terms.mT, (anchors * shares).to(self.dtype)).to(self.kept)
            self.grad_keys = found if self.grad_keys is None else self.grad_keys.add_(found)
        return sums, torch.bmm(terms, self.counted).to(self.kept).mul_(shares)
