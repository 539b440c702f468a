"""Losses that backbones and alignments share."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_TAU = 0.03
"""Smallest temperature of `info_nce`: below it exp((cos - 1) / tau) leaves float32's range."""

_CHUNK_ELEMENTS = 1 << 19
"""Logits held at once by `info_nce`: 2 MiB, about one core's cache."""


def bpr(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al., 2009): mean of softplus(negative score - positive score).

    users, positives, negatives: (B, d). Returns a scalar in nats.
    """
    margin = (users * (negatives - positives)).sum(1)
    return F.softplus(margin).mean()


def info_nce(
    anchors: Tensor,
    keys: Tensor,
    own: Tensor,
    *,
    tau: float,
    anchor_counts: Tensor | None = None,
    key_counts: Tensor | None = None,
) -> Tensor:
    """Mean of -cos(a, own key) / tau + log sum over keys of exp(cos(a, key) / tau) (RLMRec, eq. 16 to 18).

    anchors: (B, d); keys: (K, d); own: (B,) int64, the row of each anchor's own key. Counts (B,) and (K,) stand for
    rows repeated that often, so that a caller computes each distinct row once. The B x K logits are never held at once.
    Returns a scalar in nats. Raises ValueError if tau < MIN_TAU.
    """
    if tau < MIN_TAU:
        raise ValueError(f"tau is {tau}; at least {MIN_TAU} keeps the exponentials within float32")
    weights = torch.ones_like(anchors[:, 0]) if anchor_counts is None else anchor_counts.to(anchors.dtype)
    bias = torch.zeros_like(keys[:, 0]) if key_counts is None else key_counts.to(keys.dtype).log()
    weights = weights / weights.sum()
    queries, keys = F.normalize(anchors, dim=1) / tau, F.normalize(keys, dim=1)
    own_logits = (queries * keys.index_select(0, own)).sum(1)
    # With cosines 1 / tau bounds every logit: no pass to look for the largest.
    log_sums: Tensor = _WeightedLogSumExp.apply(queries, keys, weights, bias - 1 / tau)  # type: ignore[no-untyped-call]
    return log_sums + 1 / tau - weights @ own_logits


def contrast(anchors: Tensor, keys: Tensor, ids: Tensor, *, tau: float) -> Tensor:
    """InfoNCE between two views of the same nodes: row i of `anchors` against row i of `keys` for every i in `ids`.

    anchors, keys: (n, d), every row of `keys` in the denominator; ids: (B,) int64, repeated ones computed once.
    Returns the mean over `ids` in nats.
    """
    distinct, counts = torch.unique(ids, return_counts=True)
    return info_nce(anchors.index_select(0, distinct), keys, distinct, tau=tau, anchor_counts=counts)


def log_partition(queries: Tensor, keys: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean over queries of log sum over keys of exp(q . k), stable for products of any size.

    queries: (B, d); keys: (K, d); counts: (B,) for queries repeated that often. Returns a scalar in nats.
    """
    weights = torch.ones_like(queries[:, 0]) if counts is None else counts.to(queries.dtype)
    log_sums: Tensor = _WeightedLogSumExp.apply(queries, keys, weights / weights.sum(), None)  # type: ignore[no-untyped-call]
    return log_sums


class _WeightedLogSumExp(torch.autograd.Function):
    """sum_b w_b log sum_k exp(q_b . key_k + bias_k), with both gradients taken while a chunk of logits is in cache.

    A bias must keep the exponentials within range; without one each row's largest logit is subtracted first.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
        total = queries.new_zeros(())
        grad_queries = torch.empty_like(queries)
        grad_keys = torch.zeros_like(keys) if ctx.needs_input_grad[1] else None
        rows = max(1, _CHUNK_ELEMENTS // len(keys))
        for start in range(0, len(queries), rows):
            part = slice(start, start + rows)
            if bias is None:
                logits = queries[part] @ keys.T
                peaks = logits.amax(1)
                total += weights[part] @ peaks
                terms = logits.sub_(peaks.unsqueeze(1)).exp_()
            else:
                terms = torch.addmm(bias, queries[part], keys.T).exp_()
            sums = terms.sum(1)
            total += weights[part] @ sums.log()
            scale = (weights[part] / sums).unsqueeze(1)
            torch.mm(terms, keys, out=grad_queries[part]).mul_(scale)
            if grad_keys is not None:
                grad_keys.addmm_(terms.T, queries[part] * scale)
        ctx.grads = grad_queries, grad_keys
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        grad_queries, grad_keys = ctx.grads
        return grads[0] * grad_queries, None if grad_keys is None else grads[0] * grad_keys, None, None
