"""Embeddings from an OpenAI-compatible server, by the same client as profiles; every vector is paid for once."""

import asyncio
import fcntl
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.text import EmbedConfig, server_identity
from rlmrec_core.embedding.batches import MAX_INPUTS, MAX_TOKENS, Learnt, TextBatches, keep, request_key
from rlmrec_core.embedding.encoder import Encoded, Progress
from rlmrec_core.embedding.reading import read_embeddings
from rlmrec_core.llm.budget import Budget, UsageStats
from rlmrec_core.llm.client import open_client
from rlmrec_core.llm.errors import BrokenAnswer
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.llm.workers import in_order
from rlmrec_core.shard import Shard
from rlmrec_core.vectors import Float32Array, unit_rows

_KEY_VERSION = 1
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
            vectors, reasons = asyncio.run(self._all(fitting, lengths, progress))
        truncated = sum(length > MAX_TOKENS for length in lengths)
        tokens = sum(min(length, MAX_TOKENS) for length in lengths)
        why = next(iter(reasons.most_common(1)), ("", 0))[0]
        return Encoded(unit_rows(vectors), tokens, truncated, reasons.total(), why)

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
            self._counter.cut(text, MAX_TOKENS) if length > MAX_TOKENS else text
            for text, length in zip(texts, lengths, strict=True)
        ]
        return cut, lengths

    def report(self) -> dict[str, Any]:
        """Calls, faults, latencies and what the ledger says of the account; plain JSON."""
        return self._stats.report()

    async def _all(self, texts: list[str], lengths: list[int], progress: Progress) -> tuple[Float32Array, Counter[str]]:
        config, keys = self._config.client, [digest_of([self.digest, text]) for text in texts]
        door = open_client(config, ledger=self._path, account=self._account, at_once=self._at_once, stats=self._stats)
        async with door as client:
            ledger, learnt = client.ledger, Learnt.of(client.ledger, self.digest)
            await self._catch_up(ledger, learnt)
            sizes = Counter(len(found) // 4 for key in keys if (found := ledger.vector(key)))
            learnt.size = learnt.size or next((size for size, _ in sizes.most_common(1)), None)
            missing = [place for place, key in enumerate(keys) if not self._has(ledger, key, learnt.size)]
            wanted = await self._wanted(ledger, missing, keys, learnt)
            done = len(texts) - len(wanted)
            progress(done, len(texts))
            served_before = sizes[learnt.size or 0] > 0
            batches = TextBatches(client, self.name, self.digest, texts, keys, lengths, learnt, served_before)
            async for size in in_order(self._batches(wanted, lengths), batches.embed, config.concurrency):
                done += size
                progress(done, len(texts))
            await batches.note_failures(all_of_them=len(wanted) == 1)
            self._stats.counts["texts that failed before"] += len(missing) - len(wanted)
            return _gathered(ledger, keys, learnt.size or 1)

    @staticmethod
    def _has(ledger: Ledger, key: str, size: int | None) -> bool:
        return (found := ledger.vector(key)) is not None and len(found) // 4 == size

    async def _wanted(self, ledger: Ledger, missing: list[int], keys: Sequence[str], learnt: Learnt) -> list[int]:
        """The texts to ask about: those that failed are paid for again only if that is wanted."""
        if not self._config.retry_failed:
            return [place for place in missing if (ledger.outcome(keys[place]) or "")[:1] != ("failed",)]
        await ledger.reopen([request_key([keys[place]], learnt) for place in missing])
        return missing

    async def _catch_up(self, ledger: Ledger, learnt: Learnt) -> None:
        """Read the answers that arrived before an earlier run died."""
        for key, parts, body in ledger.unread("embeddings", self.name):
            keys = json.loads(parts)
            try:
                found = read_embeddings(body, len(keys), size=learnt.size)
            except BrokenAnswer as error:
                ledger.concluded(key, "failed", str(error))
                continue
            if learnt.size in (None, found.size):
                await keep(ledger, key, keys, found)
            else:
                ledger.concluded(key, "failed", "vectors of another size than those of the model today")

    def _batches(self, places: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        tokens = 0
        for place in places:
            length = min(lengths[place], MAX_TOKENS)
            if batch and (len(batch) == MAX_INPUTS or tokens + length > (self._config.batch_tokens or _BATCH_TOKENS)):
                yield batch
                batch, tokens = [], 0
            batch.append(place)
            tokens += length
        if batch:
            yield batch


def _gathered(ledger: Ledger, keys: Sequence[str], size: int) -> tuple[Float32Array, Counter[str]]:
    """The vectors of all keys, (n, d), zero where there is none of this size, and the reasons why those are not."""
    vectors = np.zeros((len(keys), size), np.float32)
    reasons: Counter[str] = Counter()
    for place, key in enumerate(keys):
        if (found := ledger.vector(key)) is None or len(found) != 4 * size:
            _, reason = ledger.outcome(key) or ("", None)
            reasons[reason or "the server gave none"] += 1
        else:
            vectors[place] = np.frombuffer(found, np.float32)
    return vectors, reasons


def model_digest(config: EmbedConfig) -> str:
    """Names a model behind an address, under resolved settings."""
    return digest_of([_KEY_VERSION, "embedding", server_identity(config.base_url), str(config.model)])


@contextmanager
def alone(ledger: Path, config: EmbedConfig) -> Iterator[None]:
    """Held by one process at a time for each model; the kernel frees it when its holder dies.

    Two runs that embed the same texts would cut them into different requests: one waits for the other.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.with_name(f"{ledger.name}.{model_digest(config)[:16]}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
