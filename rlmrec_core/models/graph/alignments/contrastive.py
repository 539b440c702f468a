"""RLMRec-Con: contrastive alignment."""

from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from rlmrec_core.device import policy
from rlmrec_core.models.graph.adapter import Adapter
from rlmrec_core.models.graph.alignments.base import Alignment, AlignmentSettings, Entry, product_dtype
from rlmrec_core.models.graph.backbones.base import Batch
from rlmrec_core.models.graph.losses import info_nce
from rlmrec_core.models.graph.rows import take
from rlmrec_core.vectors import Float32Array, SemanticEmbeddings


class ContrastiveSettings(AlignmentSettings):
    """Settings of RLMRec-Con."""

    in_batch: bool = Field(
        False, description="Contrast users within the batch (the paper's text), not with all (its experiments)"
    )


class ContrastiveAlignment(Alignment):
    """Pull each node's collaborative vector towards its adapted semantic vector (RLMRec, eq. 16 and 18).

    loss = nce(u, f(s_u); all users) + nce(pos, f(s_pos); in-batch positives) + nce(neg, f(s_neg); in-batch negatives),
    with one MLP f for users and items. These denominators are the ones of the authors' experiments; the paper's text
    has in-batch everywhere, which `in_batch` selects and which costs less the more users there are. Without negatives
    in the batch the last term is left out.
    """

    def __init__(
        self, semantic: SemanticEmbeddings, size: int, settings: ContrastiveSettings, generator: torch.Generator
    ) -> None:
        """size: width D of the backbone's nodes."""
        super().__init__()
        self.weight, self.tau, self.in_batch = settings.weight, settings.tau, settings.in_batch
        self.n_users = len(semantic.users)
        self.dtype = product_dtype(settings)
        self.users, self.items = (_Side(vectors, self.dtype) for vectors in (semantic.users, semantic.items))
        self.adapter = Adapter(semantic.users.shape[1], size, generator, self.dtype)

    def losses(self, nodes: Tensor, batch: Batch, entry: Entry) -> dict[str, Tensor]:
        users, items = nodes.split([self.n_users, len(nodes) - self.n_users])
        drawn = [batch.positives] if batch.negatives is None else [batch.positives, batch.negatives]
        if policy(nodes.device).asynchronous:
            return {
                "align": self.weight * (self._user_term(users, batch.users) + self._at_once(items, self.items, drawn))
            }
        # The MLP dominates the step: it runs once on the users and once on every distinct item of the batch.
        adapted = self._adapt_distinct(self.items, torch.cat(drawn))
        loss = self._user_term(users, batch.users)
        for ids in drawn:
            loss = loss + self._in_batch_term(items, self.items, ids, *adapted)
        return {"align": self.weight * loss}

    def _user_term(self, users: Tensor, ids: Tensor) -> Tensor:
        if self.in_batch and policy(ids.device).asynchronous:
            return self._at_once(users, self.users, [ids])
        if self.in_batch:
            return self._in_batch_term(users, self.users, ids, *self._adapt_distinct(self.users, ids))
        distinct, rows, counts = self.users.distinct(ids)
        keys = self.adapter(self.users.vectors)
        return self._nce(take(users, distinct), keys, rows, counts, None)

    def _in_batch_term(self, nodes: Tensor, side: "_Side", ids: Tensor, key_rows: Tensor, keys: Tensor) -> Tensor:
        distinct, rows, counts = side.distinct(ids)
        own_keys = take(keys, torch.searchsorted(key_rows, rows))
        own = torch.arange(len(distinct), device=ids.device)
        return self._nce(take(nodes, distinct), own_keys, own, counts, counts)

    def _at_once(self, nodes: Tensor, side: "_Side", drawn: list[Tensor]) -> Tensor:
        """The sum of the in-batch terms of some ids, where no shape may depend on values: all are taken together."""
        ids, rows, counts = side.distinct(torch.cat(drawn))
        # Of two sizes that are known beforehand the smaller one: all rows of the side, or those of the whole batch.
        if len(side.vectors) <= len(ids):
            keys = take(self.adapter(side.vectors), rows)
        else:
            keys = self.adapter(side.vectors.index_select(0, rows))
        sizes = [len(one) for one in drawn]
        parts = zip(*(one.split(sizes) for one in (take(nodes, ids), keys, counts)), strict=True)
        terms = [self._nce(anchors, own, None, times, times) for anchors, own, times in parts]
        return torch.stack(terms).sum()

    def _adapt_distinct(self, side: "_Side", ids: Tensor) -> tuple[Tensor, Tensor]:
        rows = side.distinct(ids).rows
        return rows, self.adapter(side.vectors.index_select(0, rows))

    def _nce(
        self, anchors: Tensor, keys: Tensor, own: Tensor | None, counts: Tensor, key_counts: Tensor | None
    ) -> Tensor:
        if not len(anchors):
            return anchors.sum()  # no node of this batch has a semantic vector
        return info_nce(anchors, keys, own, tau=self.tau, anchor_counts=counts, key_counts=key_counts, dtype=self.dtype)


class _Distinct(NamedTuple):
    """Nodes of a batch: their ids, their rows in the side's vectors, how often each occurs. All (m,) int64."""

    ids: Tensor
    rows: Tensor
    counts: Tensor


class _Side(nn.Module):
    """The vectors at hand on one side, (n_known, d_s), and each node's row among them, -1 where it has none."""

    vectors: Tensor
    row_of: Tensor

    def __init__(self, vectors: Float32Array, dtype: torch.dtype) -> None:
        super().__init__()
        known = vectors.any(axis=1)
        rows = np.where(known, np.cumsum(known) - 1, -1)
        # Not persistent: input data has no place among the model's weights.
        self.register_buffer("vectors", torch.from_numpy(vectors[known]).to(dtype), persistent=False)
        self.register_buffer("row_of", torch.from_numpy(rows), persistent=False)

    def distinct(self, ids: Tensor) -> _Distinct:
        """The distinct nodes among `ids` that have a vector, in ascending order.

        Where no shape may depend on values, all of `ids`, of which those without a vector occur 0 times, in row 0.
        """
        if policy(ids.device).asynchronous:
            rows = self.row_of.index_select(0, ids)
            return _Distinct(ids, rows.clamp_min(0), (rows >= 0).long())
        known = ids[self.row_of[ids] >= 0]
        distinct, counts = torch.unique(known, return_counts=True)
        return _Distinct(distinct, self.row_of[distinct], counts)
