"""Losses that backbones and alignments share."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rlmrec_core.device import policy
from rlmrec_core.models.graph.contrasts import contrasts, unit
from rlmrec_core.models.graph.rows import Distinct, add_up, take

MIN_TAU = 0.03
"""Smallest temperature of `info_nce`: down to it exp(cos / tau) and sums of it stay well within float32's range."""


def bpr(nodes: Tensor, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Bayesian personalised ranking (Rendle et al., 2009): mean of softplus(negative score - positive score).

    nodes: (n, d); users, positives, negatives: (B,) int64, rows of `nodes`, whose vectors are never all held at once.
    Returns a scalar in nats.
    """
    loss: Tensor = _PairwiseRanking.apply(nodes, users, positives, negatives)  # type: ignore[no-untyped-call]
    return loss


def info_nce(
    anchors: Tensor,
    keys: Tensor,
    own: Tensor | None,
    *,
    tau: float,
    anchor_counts: Tensor | None = None,
    key_counts: Tensor | None = None,
    unit_keys: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Mean of -cos(a, own key) / tau + log sum over keys of exp(cos(a, key) / tau) (RLMRec, eq. 16 to 18).

    anchors: (B, d); keys: (K, d), of length one already if `unit_keys`; own: (B,) int64, the row of each anchor's own
    key, None where it is the anchor's own number. Counts (B,) and (K,) stand for rows repeated that often, so that a
    caller computes each distinct row once; they may be fractions, and 0 leaves a row out. Of the B x K logits a
    `device.policy` says how many are held at once. dtype: of the logits and of the large products' operands, where it
    is not that of the vectors.
    Returns a scalar in nats. Raises ValueError if tau < MIN_TAU.
    """
    _check_tau(tau)
    keys, weights = keys if unit_keys else unit(keys), _shares(anchor_counts, anchors)
    if policy(keys.device).asynchronous:
        own_keys = None if own is None else take(keys, own)
        return _alone(unit(anchors), keys, own_keys, weights, key_counts, tau, dtype)
    own = torch.arange(len(keys), device=keys.device) if own is None else own
    return _log_sums(anchors, keys, weights, key_counts, own, tau, dtype)


def sampled_softmax(anchors: Tensor, positives: Tensor, negatives: Tensor, *, tau: float) -> Tensor:
    """Mean of -cos(a, p) / tau + log(exp(cos(a, p) / tau) + sum over negatives of exp(cos(a, n) / tau)).

    The loss of AlphaRec (Sheng et al., ICLR 2025, equation 5), where the anchors of a step share their negatives: one
    matrix product in place of a gathered vector for each pair.
    anchors, positives: (B, d); negatives: (K, d). The B x K logits are never held at once.
    Returns a scalar in nats. Raises ValueError if tau < MIN_TAU.
    """
    _check_tau(tau)
    unit = (F.normalize(side, dim=1) for side in (anchors, positives, negatives))
    loss: Tensor = _SampledSoftmax.apply(*unit, tau)  # type: ignore[no-untyped-call]
    return loss


def contrast(anchors: Tensor, keys: Tensor, ids: Tensor, *, tau: float, in_batch: bool = False) -> Tensor:
    """InfoNCE between two views of the same nodes: row i of `anchors` against row i of `keys` for every i in `ids`.

    anchors, keys: (n, d); ids: (B,) int64, repeated ones computed once. Every row of `keys` is in the denominator or,
    `in_batch`, every distinct one of `ids`, once. Returns the mean over `ids` in nats.
    """
    if policy(ids.device).asynchronous:
        return _contrast_at_once(anchors, keys, ids, tau, in_batch)
    distinct = Distinct.of(ids, len(anchors))
    own = distinct.ids
    if in_batch:
        keys, own = take(keys, own), torch.arange(len(own), device=ids.device)
    chosen = take(anchors, distinct.ids)
    return info_nce(chosen, keys, own, tau=tau, anchor_counts=distinct.times)


def _contrast_at_once(anchors: Tensor, keys: Tensor, ids: Tensor, tau: float, in_batch: bool) -> Tensor:
    """`contrast`, which takes rows of both views together: for their gradient rows are sorted once."""
    _check_tau(tau)
    keys = unit(keys)
    chosen, own_keys = take(torch.cat([anchors, keys], dim=1), ids).split(anchors.shape[1], dim=1)
    weights = torch.full_like(chosen[:, 0], 1 / len(ids))
    if in_batch:
        return _alone(unit(chosen), own_keys, None, weights, Distinct.of(ids, len(keys), once=True).once, tau, None)
    return _alone(unit(chosen), keys, own_keys, weights, None, tau, None)


def _alone(
    anchors: Tensor,
    keys: Tensor,
    own_keys: Tensor | None,
    weights: Tensor,
    counts: Tensor | None,
    tau: float,
    dtype: torch.dtype | None,
) -> Tensor:
    """`contrasts` of a single set."""
    own_keys = None if own_keys is None else own_keys.unsqueeze(0)
    counts = None if counts is None else counts.to(keys.dtype).unsqueeze(0)
    anchors, keys, weights = (one.unsqueeze(0) for one in (anchors, keys, weights))
    return contrasts(anchors, keys, own_keys, weights, counts, tau=tau, dtype=dtype)


def log_partition(queries: Tensor, keys: Tensor, counts: Tensor | None = None) -> Tensor:
    """Mean over queries of log sum over keys of exp(q . k), stable for products of any size.

    queries: (B, d); keys: (K, d); counts: (B,) for queries repeated that often. Returns a scalar in nats.
    """
    return _log_sums(queries, keys, _shares(counts, queries), None, None, None, None)


def _check_tau(tau: float) -> None:
    if tau < MIN_TAU:
        raise ValueError(f"tau is {tau}; at least {MIN_TAU} keeps the exponentials within float32")


def _shares(counts: Tensor | None, rows: Tensor) -> Tensor:
    weights = torch.ones_like(rows[:, 0]) if counts is None else counts.to(rows.dtype)
    return weights / weights.sum().clamp_min(_tiny(weights))


def _tiny(of: Tensor) -> float:
    """What a divisor is at least, where every row is left out."""
    return float(torch.finfo(of.dtype).tiny)


def _log_sums(anchors: Tensor, keys: Tensor, *options: Any) -> Tensor:
    total: Tensor = _LogSums.apply(anchors, keys, *options)  # type: ignore[no-untyped-call]
    return total


class _PairwiseRanking(torch.autograd.Function):
    """Mean of softplus(user . (negative - positive)). The gradient is taken at once, while a chunk is in cache."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, *ids: Tensor) -> Tensor:
        total, ctx.grad, ctx.n_pairs = nodes.new_zeros(()), torch.zeros_like(nodes), len(ids[0])
        held = policy(nodes.device)
        for part in zip(*(side.split(held.pairs) for side in ids), strict=True):
            rows = torch.cat(part)
            vectors = nodes.index_select(0, rows)
            total += _rank_in_place(vectors)
            if held.asynchronous:
                ctx.grad += add_up(vectors, rows, len(nodes))
            else:
                ctx.grad.index_add_(0, rows, vectors)
        return total / len(ids[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.grad * (grads[0] / ctx.n_pairs), None, None, None


def _rank_in_place(vectors: Tensor) -> Tensor:
    """Sum of softplus(margin) over pairs. vectors: users, positives and negatives, (3 B, d), in whose place their
    gradients are left.
    """
    users, positives, negatives = vectors.chunk(3)
    differences = negatives.sub_(positives)
    margins = torch.linalg.vecdot(users, differences)
    slopes = margins.sigmoid().unsqueeze(1)
    torch.mul(users, -slopes, out=positives)
    torch.mul(differences, slopes, out=users)
    torch.neg(positives, out=negatives)
    total: Tensor = F.softplus(margins).sum()
    return total


class _LogSums(torch.autograd.Function):
    """sum_b weight_b (log sum_k count_k exp(logit_bk) - logit_b,own(b)).

    With a tau the logits are cosines over tau, keys of length one given; without, products. Own keys may be left out.
    Both gradients are taken at once, while a chunk of logits is in cache.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        keys: Tensor,
        weights: Tensor,
        counts: Tensor | None,
        own: Tensor | None,
        tau: float | None,
        dtype: torch.dtype | None,
    ) -> Tensor:
        counts = torch.ones_like(keys[:, 0]) if counts is None else counts.to(keys.dtype)
        softmax = _ChunkedSoftmax(keys, counts, len(anchors), tau is not None, dtype or keys.dtype)
        total, grad_anchors = anchors.new_zeros(()), torch.empty_like(anchors)
        grad_keys = torch.zeros_like(keys) if ctx.needs_input_grad[1] else None
        for start in range(0, len(anchors), softmax.rows):
            part = slice(start, start + softmax.rows)
            weight = weights[part].unsqueeze(1)
            length = anchors[part].norm(dim=1, keepdim=True).clamp_min(1e-12) * tau if tau else weight.new_ones(())
            query = anchors[part] / length
            log_sums, grad = softmax(query, weight, grad_keys)
            total += weights[part] @ log_sums
            if own is not None:
                own_keys = keys.index_select(0, own[part])
                total -= weights[part] @ (query * own_keys).sum(1)
                grad.addcmul_(own_keys, weight, value=-1)
                if grad_keys is not None:
                    shares = query * weight / counts[own[part]].clamp_min(_tiny(counts)).unsqueeze(1)
                    grad_keys.index_add_(0, own[part], shares, alpha=-1)
            if tau:  # what would change the length of an anchor changes no cosine
                grad.addcmul_(query, (grad * query).sum(1, keepdim=True), value=-(tau**2))
            torch.div(grad, length, out=grad_anchors[part])
        ctx.grads = grad_anchors, None if grad_keys is None else grad_keys.mul_(counts.unsqueeze(1))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_anchors, grad_keys = ctx.grads
        return grads[0] * grad_anchors, None if grad_keys is None else grads[0] * grad_keys, *(None,) * 5


class _SampledSoftmax(torch.autograd.Function):
    """`sampled_softmax` of vectors of length one. The gradients are taken at once, while a chunk is in cache."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, positives: Tensor, negatives: Tensor, tau: float) -> Tensor:
        counts = torch.ones_like(negatives[:, 0])
        softmax = _ChunkedSoftmax(negatives, counts, len(anchors), True, negatives.dtype)
        total, share = anchors.new_zeros(()), 1 / len(anchors)
        grads = torch.empty_like(anchors), torch.empty_like(positives), torch.zeros_like(negatives)
        for start in range(0, len(anchors), softmax.rows):
            part = slice(start, start + softmax.rows)
            query = anchors[part] / tau
            own = torch.linalg.vecdot(query, positives[part])
            weight = torch.full_like(own, share).unsqueeze(1)
            log_sums, grad = softmax(query, weight, grads[2], own.exp())
            total += share * (log_sums - own).sum()
            missing = weight * torch.expm1(own - log_sums).unsqueeze(1)  # the positive's share of the sum, less one
            torch.mul(query, missing, out=grads[1][part])
            torch.div(grad.addcmul_(positives[part], missing), tau, out=grads[0][part])
        ctx.grads = grads
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *(grads[0] * grad for grad in ctx.grads), None


class _ChunkedSoftmax:
    """log sum_k count_k exp(q . key_k) for some queries at a time, in memory that is reused from chunk to chunk.

    Unless the logits are `bounded` so that their exponentials stay in range, each row's largest is subtracted first.
    Logits are taken to base 2: `exp2` is up to three times as fast as `exp`.
    """

    def __init__(self, keys: Tensor, counts: Tensor, n_queries: int, bounded: bool, dtype: torch.dtype) -> None:
        self.rows = min(max(1, policy(keys.device).logits // len(keys)), n_queries)
        self.counts, self.bounded, self.dtype = counts.to(dtype).unsqueeze(1), bounded, dtype
        self.transposed = (keys.T / math.log(2)).to(dtype).contiguous()
        self.counted = (keys * counts.unsqueeze(1)).to(dtype)
        # Fresh memory for every chunk would cost a fifth of the time.
        self.buffer = torch.empty(self.rows, len(keys), dtype=dtype, device=keys.device)

    def __call__(
        self, query: Tensor, weight: Tensor, grad_keys: Tensor | None, more: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The log sums, (rows,), and the gradient in the queries of their sum by `weight`, (rows, d).

        query: (rows, d); weight: (rows, 1); more: (rows,), terms of the sums that belong to no key, where the logits
        are bounded. Adds to `grad_keys` the gradient in one of each key's repetitions.
        """
        terms = torch.mm(query.to(self.dtype), self.transposed, out=self.buffer[: len(query)])
        peaks = torch.zeros_like(weight)
        if not self.bounded:
            peaks = terms.amax(1, keepdim=True)
            terms.sub_(peaks)
        sums = (terms.exp2_() @ self.counts).to(query.dtype)
        if more is not None:
            sums += more.unsqueeze(1)
        scale = weight / sums.clamp_(min=_tiny(sums))
        if grad_keys is not None:
            grad_keys.add_(terms.T @ (query * scale).to(self.dtype))
        grad = (terms @ self.counted).to(query.dtype).mul_(scale)
        return (sums.log2() + peaks).squeeze(1) * math.log(2), grad
