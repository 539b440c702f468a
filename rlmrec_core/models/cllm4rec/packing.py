"""Documents end to end in one row of tokens, without padding: what a trunk reads in one pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Document:
    """Tokens of one document, (length,), and where its losses are.

    tokens: words as they are numbered by the tokenizer, users and items after them; rows: (n,) places whose hidden
    state predicts, in order; targets: (m,) what is predicted, as an id of the head; counts: (n,) targets of each row;
    nodes: its users and items, users numbered from 0 and items after them, each once.
    """

    tokens: Tokens
    rows: Tokens
    targets: Tokens
    counts: Tokens
    nodes: Tokens

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Pack:
    """Several documents, shortest first, those of one length as they came. T tokens, n predicting rows, m targets.

    tokens, positions: (T,), positions starting anew in every document; spans: (first token, documents, length) of each
    run of documents of one length; rows: (n,) places in the pack; pair_rows: (m,) which of the n rows; targets: (m,).
    """

    tokens: Tensor
    positions: Tensor
    spans: tuple[tuple[int, int, int], ...]
    rows: Tensor
    pair_rows: Tensor
    targets: Tensor

    def to(self, device: str) -> "Pack":
        tensors = (self.tokens, self.positions, self.rows, self.pair_rows, self.targets)
        tokens, positions, rows, pair_rows, targets = (one.to(device) for one in tensors)
        return Pack(tokens, positions, self.spans, rows, pair_rows, targets)


def pack(documents: Sequence[Document]) -> Pack:
    """The documents as one pack."""
    sorted_ = sorted(documents, key=len)
    lengths = np.array([len(one) for one in sorted_], np.int64)
    starts = np.cumsum(lengths) - lengths
    tokens = np.concatenate([one.tokens for one in sorted_])
    positions = np.arange(len(tokens)) - np.repeat(starts, lengths)
    n_rows = np.array([len(one.rows) for one in sorted_], np.int64)
    rows = np.concatenate([one.rows for one in sorted_]) + np.repeat(starts, n_rows)
    counts = np.concatenate([one.counts for one in sorted_])
    pair_rows = np.repeat(np.arange(len(rows)), counts)
    targets = np.concatenate([one.targets for one in sorted_])
    arrays = (tokens, positions, rows, pair_rows, targets)
    on_cpu = [torch.from_numpy(np.ascontiguousarray(one)) for one in arrays]
    return Pack(on_cpu[0], on_cpu[1], tuple(_spans(lengths.tolist())), *on_cpu[2:])


def _spans(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    start = 0
    for length, run in groupby(lengths):
        n = len(list(run))
        yield start, n, length
        start += n * length


def packs(documents: Sequence[Document], limit: int) -> Iterator[Pack]:
    """The documents in packs of at most `limit` tokens (or of one document), in their order."""
    chosen: list[Document] = []
    size = 0
    for document in documents:
        if chosen and size + len(document) > limit:
            yield pack(chosen)
            chosen, size = [], 0
        chosen.append(document)
        size += len(document)
    if chosen:
        yield pack(chosen)


def packed_attention(query: Tensor, key: Tensor, value: Tensor, pack: Pack, n_heads: int, dropout: float) -> Tensor:
    """Causal attention within each document, (T, d) each: one dense batch for all documents of a length."""
    outputs = []
    for start, n, length in pack.spans:
        q, k, v = (_heads(one, start, n, length, n_heads) for one in (query, key, value))
        out = scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        outputs.append(out.transpose(1, 2).reshape(n * length, -1))
    return torch.cat(outputs)


def _heads(states: Tensor, start: int, n: int, length: int, n_heads: int) -> Tensor:
    return states[start : start + n * length].view(n, length, n_heads, -1).transpose(1, 2)


def attention_mask(pack: Pack, dtype: torch.dtype) -> Tensor:
    """(1, 1, T, T) for trunks that take no spans: 0 where a token sees another, elsewhere the least finite number."""
    starts = torch.arange(len(pack.tokens), device=pack.tokens.device) - pack.positions
    places = torch.arange(len(pack.tokens), device=pack.tokens.device)
    seen = (starts.unsqueeze(1) == starts) & (places.unsqueeze(1) >= places)
    blocked = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return blocked.masked_fill_(~seen, torch.finfo(dtype).min)[None, None]
