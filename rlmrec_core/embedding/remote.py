"""Embeddings from an OpenAI-compatible server, by the same client as profiles; every vector is paid for once."""

import asyncio
import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rlmrec_core.config.text import EmbedConfig
from rlmrec_core.embedding.encoder import Encoded, Progress, Vectors, unit_rows
from rlmrec_core.llm.answers import read_json, shown
from rlmrec_core.llm.budget import Budget, UsageStats
from rlmrec_core.llm.client import LlmClient, open_client
from rlmrec_core.llm.errors import BrokenAnswer, ContextTooLong, RequestFailed, RequestRejected
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.llm.request import Request, sha256_of
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.llm.workers import in_order
from rlmrec_core.shard import Shard

_KEY_VERSION = 1
_MAX_INPUTS = 2048  # texts in one request, OpenAI's limit
_MAX_TOKENS = 8191  # tokens in one text, OpenAI's limit
_BATCH_TOKENS = 100_000


class RemoteEncoder:
    """A model behind `/embeddings`; key from OPENAI_API_KEY."""

    def __init__(self, config: EmbedConfig, ledger: Path, account: str = "embed", at_once: int = 1) -> None:
        """config: resolved. at_once: how many processes send at the same time, each with its share of the limits.

        Raises MissingSetting if there is a budget and no price to measure it with.
        """
        self.name = str(config.model)
        self.digest = model_digest(config)
        Budget.of(config.client, account)
        self._config, self._path, self._account, self._at_once = config, ledger, account, at_once
        self._counter = TokenCounter.for_model(self.name)
        self._stats = UsageStats()

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of texts in their order, those known from the ledger without a call.

        A text that the server will not embed has a zero row and is counted. Raises MissingSetting without a key,
        RunStopped if the server stops the run.
        """
        fitting, lengths = self._fitting(texts)
        with alone(self._path, self._config):
            vectors, failed = asyncio.run(self._all(fitting, lengths, progress))
        truncated = sum(length > _MAX_TOKENS for length in lengths)
        tokens = sum(min(length, _MAX_TOKENS) for length in lengths)
        return Encoded(unit_rows(vectors), tokens, truncated, failed)

    def encode_shard(self, texts: Sequence[str], shard: Shard, progress: Progress) -> None:
        """Have the vectors of a shard of the batches in the ledger. Whoever divides the work holds `alone`."""
        fitting, lengths = self._fitting(texts)
        batches = list(self._batches(range(len(texts)), lengths))
        mine = [place for number in shard.of(len(batches)) for place in batches[number]]
        asyncio.run(self._all([fitting[p] for p in mine], [lengths[p] for p in mine], progress))

    def _fitting(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        """The texts, cut to what the model reads, and their lengths before that, in tokens."""
        lengths = [self._counter.count(text) for text in texts]
        cut = [
            self._counter.cut(text, _MAX_TOKENS) if length > _MAX_TOKENS else text
            for text, length in zip(texts, lengths, strict=True)
        ]
        return cut, lengths

    def report(self) -> dict[str, Any]:
        """Calls, faults, latencies and what the ledger says of the account; plain JSON."""
        return self._stats.report()

    async def _all(self, texts: list[str], lengths: list[int], progress: Progress) -> tuple[Vectors, int]:
        config, keys = self._config.client, [sha256_of([self.digest, text]) for text in texts]
        door = open_client(config, ledger=self._path, account=self._account, at_once=self._at_once, stats=self._stats)
        async with door as client:
            await self._catch_up(client.ledger)
            missing = [place for place, key in enumerate(keys) if client.ledger.vector(key) is None]
            done = len(texts) - len(missing)
            progress(done, len(texts))
            batches = _Batches(client, self.name, texts, keys, lengths)
            async for size in in_order(self._batches(missing, lengths), batches.embed, config.concurrency):
                done += size
                progress(done, len(texts))
            return _gathered(client.ledger, keys)

    async def _catch_up(self, ledger: Ledger) -> None:
        """Read the answers that arrived before an earlier run died."""
        for key, parts, body in ledger.unread("embeddings", self.name):
            keys = json.loads(parts)
            try:
                await _keep(ledger, key, keys, read_embeddings(body, len(keys)))
            except BrokenAnswer as error:
                ledger.concluded(key, "failed", str(error))

    def _batches(self, places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        tokens = 0
        for place in places:
            length = min(lengths[place], _MAX_TOKENS)
            if batch and (len(batch) == _MAX_INPUTS or tokens + length > (self._config.batch_tokens or _BATCH_TOKENS)):
                yield batch
                batch, tokens = [], 0
            batch.append(place)
            tokens += length
        if batch:
            yield batch


class _Batches:
    """Embeds batches of texts, and their halves where the server will not take the whole."""

    def __init__(self, client: LlmClient, model: str, texts: list[str], keys: list[str], lengths: list[int]) -> None:
        self._client, self._model, self._texts, self._keys, self._lengths = client, model, texts, keys, lengths

    async def embed(self, places: list[int]) -> int:
        """Have the vectors of these texts in the ledger, as far as they can be had; returns how many texts."""
        request = self._request(places)
        try:
            vectors = await self._client.answer(request, lambda body: read_embeddings(body, len(places)))
        except (RequestRejected, ContextTooLong):
            if len(places) > 1:
                middle = len(places) // 2
                await self.embed(places[:middle])
                await self.embed(places[middle:])
        except RequestFailed:
            pass  # counted as missing; the next run tries again
        else:
            await _keep(self._client.ledger, request.key, request.input_keys, vectors)
        return len(places)

    def _request(self, places: list[int]) -> Request:
        texts, keys = [self._texts[p] for p in places], tuple(self._keys[p] for p in places)
        tokens = sum(min(self._lengths[p], _MAX_TOKENS) for p in places)
        most = sum(len(text.encode()) + 1 for text in texts)
        body = {"model": self._model, "input": texts}
        return Request(sha256_of(["embeddings", keys]), "embeddings", self._model, body, tokens, most, input_keys=keys)


async def _keep(ledger: Ledger, key: str, parts: Sequence[str], vectors: Vectors) -> None:
    await ledger.keep_vectors([(part, vector.tobytes()) for part, vector in zip(parts, vectors, strict=True)])
    ledger.concluded(key, "validated")


def read_embeddings(raw: bytes, n: int) -> Vectors:
    """The n vectors of an answer, ordered by their indices, (n, d).

    Raises BrokenAnswer unless the indices are exactly 0 .. n - 1 and all vectors are finite, not zero and of one size.
    """
    try:
        data = read_json(raw)["data"]
        ordered = sorted(data, key=lambda one: one["index"])
        indices = [one["index"] for one in ordered]
        vectors = np.array([one["embedding"] for one in ordered], np.float32)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        if isinstance(error, BrokenAnswer):
            raise
        raise BrokenAnswer(f"no embeddings of one size in the body, which begins {shown(raw)}") from error
    if indices != list(range(n)) or vectors.ndim != 2:
        raise BrokenAnswer(f"embeddings with indices {indices[:5]}..., expected exactly 0 to {n - 1}")
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
        raise BrokenAnswer("an embedding is zero or not finite")
    return vectors


def _gathered(ledger: Ledger, keys: Sequence[str]) -> tuple[Vectors, int]:
    """The vectors of all keys, (n, d), zero where there is none, and how many those are. Raises BrokenAnswer."""
    size = next((len(found) // 4 for key in keys if (found := ledger.vector(key))), 1)
    vectors = np.zeros((len(keys), size), np.float32)
    failed = 0
    for place, key in enumerate(keys):
        if (found := ledger.vector(key)) is None:
            failed += 1
        elif len(found) != 4 * size:
            raise BrokenAnswer(
                f"embeddings of different sizes, {size} and {len(found) // 4}: the model behind this name has changed"
            )
        else:
            vectors[place] = np.frombuffer(found, np.float32)
    return vectors, failed


def model_digest(config: EmbedConfig) -> str:
    """Names a model behind an address, under resolved settings."""
    return sha256_of([_KEY_VERSION, "embedding", config.base_url, str(config.model)])


@contextmanager
def alone(ledger: Path, config: EmbedConfig) -> Iterator[None]:
    """Held by one process at a time for each model; the kernel frees it when its holder dies.

    Two runs that embed the same texts would cut them into different requests: one waits for the other.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.with_name(f"{ledger.name}.{model_digest(config)[:16]}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
