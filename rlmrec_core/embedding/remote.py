"""Embeddings from an OpenAI-compatible server; every vector is paid for once."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rlmrec_core.embedding.encoder import Encoded, Progress, Vectors, unit_rows
from rlmrec_core.profiling.answers import BrokenAnswer
from rlmrec_core.profiling.client import Server
from rlmrec_core.profiling.ledger import Ledger, open_ledger
from rlmrec_core.profiling.sources import sha256_of
from rlmrec_core.profiling.tokens import TokenCounter
from rlmrec_core.profiling.workers import work_through

_KEY_VERSION = 1
_MAX_INPUTS = 2048  # texts in one request, OpenAI's limit
_MAX_TOKENS = 8191  # tokens in one text, OpenAI's limit
_BATCH_TOKENS = 100_000
_CONCURRENCY, _TIMEOUT_SECONDS = 4, 120.0


class RemoteEncoder:
    """A model behind `/embeddings`; key from OPENAI_API_KEY."""

    def __init__(self, model: str, base_url: str | None, ledger: Path, batch_tokens: int | None = None) -> None:
        self.name = model
        self.digest = sha256_of([_KEY_VERSION, "embedding", base_url, model])
        self._base_url = base_url
        self._ledger = ledger
        self._counter = TokenCounter.for_model(model)
        self._batch_tokens = batch_tokens or _BATCH_TOKENS

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of texts in their order, those known from the ledger without a call.

        Raises MissingSetting without a key, RequestFailed or ServerRefused where a batch cannot be had.
        """
        lengths = [self._counter.count(text) for text in texts]
        fitting = [
            self._counter.cut(text, _MAX_TOKENS) if length > _MAX_TOKENS else text
            for text, length in zip(texts, lengths, strict=True)
        ]
        with open_ledger(self._ledger) as ledger:
            vectors = asyncio.run(self._all(fitting, lengths, ledger, progress))
        truncated = sum(length > _MAX_TOKENS for length in lengths)
        return Encoded(unit_rows(vectors), sum(min(length, _MAX_TOKENS) for length in lengths), truncated)

    async def _all(self, texts: list[str], lengths: list[int], ledger: Ledger, progress: Progress) -> Vectors:
        keys = [sha256_of([self.digest, text]) for text in texts]
        found: dict[int, Vectors] = {}
        for place, key in enumerate(keys):
            if (known := ledger.vector(key)) is not None:
                found[place] = np.frombuffer(known, np.float32)
        missing = [place for place in range(len(texts)) if place not in found]
        progress(len(found), len(texts))
        async with Server(self._base_url, _TIMEOUT_SECONDS) as server:

            async def embed(batch: list[int]) -> None:
                vectors = await self._batch(server, ledger, [texts[place] for place in batch])
                ledger.keep_vectors([(keys[p], v.tobytes()) for p, v in zip(batch, vectors, strict=True)])
                found.update(zip(batch, vectors, strict=True))
                progress(len(found), len(texts))

            await work_through(self._batches(missing, lengths), embed, _CONCURRENCY)
        return _stacked([found[place] for place in range(len(texts))])

    async def _batch(self, server: Server, ledger: Ledger, texts: list[str]) -> Vectors:
        body = {"model": self.name, "input": texts}
        key = sha256_of([self.digest, texts])

        def keep(raw: bytes) -> Vectors:
            ledger.answered(key, raw)
            return read_embeddings(raw, len(texts))

        return await server.embeddings(body, keep, lambda: ledger.sent(key, self.name))

    def _batches(self, places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        tokens = 0
        for place in places:
            length = min(lengths[place], _MAX_TOKENS)
            if batch and (len(batch) == _MAX_INPUTS or tokens + length > self._batch_tokens):
                yield batch
                batch, tokens = [], 0
            batch.append(place)
            tokens += length
        if batch:
            yield batch


def read_embeddings(raw: bytes, n: int) -> Vectors:
    """The n vectors of an answer, ordered by their indices, (n, d).

    Raises BrokenAnswer unless the indices are exactly 0 .. n - 1 and all vectors are finite, not zero and of one size.
    """
    try:
        data = json.loads(raw)["data"]
        ordered = sorted(data, key=lambda one: one["index"])
        indices = [one["index"] for one in ordered]
        vectors = np.array([one["embedding"] for one in ordered], np.float32)
    except (ValueError, LookupError, TypeError) as error:
        raise BrokenAnswer(f"no embeddings of one size in the body, which begins {raw[:80]!r}") from error
    if indices != list(range(n)) or vectors.ndim != 2:
        raise BrokenAnswer(f"embeddings with indices {indices[:5]}..., expected exactly 0 to {n - 1}")
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
        raise BrokenAnswer("an embedding is zero or not finite")
    return vectors


def _stacked(vectors: list[Vectors]) -> Vectors:
    if len(sizes := {vector.shape for vector in vectors}) > 1:
        raise BrokenAnswer(f"embeddings of different sizes {sorted(sizes)}: the model behind this name has changed")
    return np.stack(vectors)
