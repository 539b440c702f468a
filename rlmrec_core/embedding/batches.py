"""Having many texts embedded: batches as large as the server takes, and bad texts that fail alone."""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from rlmrec_core.canonical import digest_of
from rlmrec_core.embedding.reading import Embeddings, read_embeddings
from rlmrec_core.llm.client import LlmClient
from rlmrec_core.llm.errors import (
    ContextTooLong,
    NothingUsable,
    RequestDeclined,
    RequestFailed,
    RequestRejected,
    RunStopped,
)
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.llm.request import Request

_log = logging.getLogger(__name__)
MAX_INPUTS = 2048  # texts in one request, OpenAI's limit
MAX_TOKENS = 8191  # tokens in one text, OpenAI's limit
_LASTS = 7 * 86_400.0  # seconds after which a larger batch is tried again
_IN_VAIN = 8  # requests in a row that bring nothing, after which no batch is divided any more
_ATTEMPTS = 2  # at a batch that can be divided


class ModelChanged(RunStopped):
    """The model behind a name gives vectors of another size than before."""


@dataclass
class Learnt:
    """What a model was seen to do, kept in the ledger.

    Attributes:
        most_texts: The largest batch that it takes, if larger ones were refused; for a week.
        size: Numbers in one of its vectors.
        changes: How often that size has changed; answers from before a change are asked for anew.
        learnt_at: When, in seconds since 1970.
    """

    most_texts: int = MAX_INPUTS
    size: int | None = None
    changes: int = 0
    learnt_at: float = 0.0

    @classmethod
    def of(cls, ledger: Ledger, digest: str) -> "Learnt":
        """What earlier runs learnt of a model."""
        try:
            known = json.loads(ledger.capabilities(f"embeddings {digest}") or "")
            found = cls(**{field.name: known[field.name] for field in fields(cls)})
        except (ValueError, TypeError, LookupError):
            return cls()
        if not 0 <= time.time() - found.learnt_at < _LASTS:
            found.most_texts = MAX_INPUTS
        return found

    def keep(self, ledger: Ledger, digest: str) -> None:
        """Keep it for later runs."""
        self.learnt_at = time.time()
        ledger.learnt(f"embeddings {digest}", json.dumps(asdict(self)))


class TextBatches:
    """Embeds batches of texts; where the server will not take one, its halves.

    After the last batch, `failed` tells why texts have no vector, by their places; `unserved` are those about which
    nothing was learnt, since the server served nobody.
    """

    def __init__(
        self, client: LlmClient, model: str, digest: str, texts: Sequence[str], keys: Sequence[str],
        lengths: Sequence[int], learnt: Learnt, served_before: bool,
    ) -> None:  # fmt: skip
        """keys: of the texts, in the ledger. lengths: in tokens. served_before: whether it ever gave a vector."""
        self._client, self._model, self._digest = client, model, digest
        self._texts, self._keys, self._lengths = texts, keys, lengths
        self._learnt, self._served, self._in_vain = learnt, served_before, 0
        self.failed: dict[int, str] = {}
        self.unserved: list[int] = []

    async def embed(self, places: Sequence[int]) -> int:
        """Have the vectors of these texts in the ledger, as far as they can be had; returns how many texts.

        Raises:
            RunStopped: ModelChanged or NothingUsable, besides what a client raises.
        """
        await self._parts(places)
        await self.note_failures()
        return len(places)

    async def note_failures(self, *, all_of_them: bool = False) -> None:
        """Keep the reasons of texts that failed, so that no run pays for them again unless it is asked to.

        While the server has not served anybody, the fault may be its own: then only with `all_of_them`.
        """
        if self.failed and (self._served or all_of_them):
            rows = [(self._keys[place], reason) for place, reason in self.failed.items()]
            await self._client.ledger.note_failed(rows, "embeddings", self._model)

    async def _parts(self, places: Sequence[int]) -> bool:
        """Whether the server took all of the texts."""
        taken = True
        for part in _cut(places, lambda: self._learnt.most_texts):
            taken &= await self._part(part)
        return taken

    async def _part(self, places: Sequence[int], *, again: bool = False) -> bool:
        """One request. A text whose vector is bad is asked about once more, together with the others of its kind."""
        request = self._request(places)

        def read(body: bytes) -> Embeddings:
            return read_embeddings(body, len(places), size=self._learnt.size, none_will_do=again)

        try:
            if len(places) > 1:
                found = await self._client.answer(request, read, attempts=_ATTEMPTS)
            else:
                found = await self._client.answer(request, read)
        except RequestFailed as error:
            return await self._divided(places, error)
        if found.size not in (None, self._learnt.size) and (again or await self._is_odd(places, found)):
            found = Embeddings({}, dict.fromkeys(range(len(places)), f"a vector of {found.size} numbers"))
        self._check_size(found)
        await keep(self._client.ledger, request.key, request.input_keys, found)
        if found.vectors:
            self._in_vain, self._served = 0, True
        bad = [places[place] for place in found.faults]
        if again or len(places) == 1:
            self._fails({places[place]: reason for place, reason in found.faults.items()})
        elif bad:
            await self._part(bad, again=True)
        return True

    async def _divided(self, places: Sequence[int], error: RequestFailed) -> bool:
        """What to do where a request failed: a smaller one may be served, and shows which text is to blame."""
        too_much = isinstance(error, RequestRejected | ContextTooLong)
        if len(places) == 1 or not (too_much or isinstance(error, RequestDeclined)):
            self._in_vain += 1
            if self._in_vain >= _IN_VAIN and not self._served:
                raise NothingUsable(
                    f"{self._in_vain} requests for embeddings in a row brought no vector, and none before; the last: "
                    f"{error}. Check that embed.model is an embedding model of this server, and run again"
                )
        if len(places) == 1:
            self._fails({places[0]: str(error)})
            return False
        if self._in_vain >= _IN_VAIN:
            self.unserved.extend(places)
            return False
        middle = len(places) // 2
        taken = await self._parts(places[:middle])
        taken &= await self._parts(places[middle:])
        if taken and too_much and middle < self._learnt.most_texts:
            self._learnt.most_texts = middle
            self._learnt.keep(self._client.ledger, self._digest)
        return taken

    def _fails(self, reasons: dict[int, str]) -> None:
        for reason in reasons.values():
            if not self.failed:
                _log.warning("a text gets no vector, and is not asked about again but by retry-failed: %s", reason)
            self._client.stats.counts["texts that fail"] += 1
        self.failed |= reasons

    async def _is_odd(self, places: Sequence[int], found: Embeddings) -> bool:
        """Whether a vector of another size is one text's fault, since the model gives another text the usual one."""
        ledger, known = self._client.ledger, self._learnt.size
        kept = (place for place, key in enumerate(self._keys) if ledger.vector(key) and place not in places)
        if known is None or len(places) > 1 or (place := next(kept, None)) is None:
            return False
        request = self._request([place])
        request = replace(request, key=digest_of(["which size", request.key, time.time()]))
        with suppress(RequestFailed):
            return (await self._client.answer(request, lambda body: read_embeddings(body, 1))).size == known
        return False

    def _check_size(self, found: Embeddings) -> None:
        """Raises ModelChanged, once: the next run takes the new size, and has the other texts embedded anew."""
        size, known = found.size, self._learnt.size
        if size is None or size == known:
            return
        self._learnt.size = size
        self._learnt.changes += known is not None
        self._learnt.keep(self._client.ledger, self._digest)
        if known is not None:
            raise ModelChanged(
                f"the model behind {self._model!r} now gives vectors of {size} numbers, those kept have {known}: they "
                f"cannot be compared. Run again, and all {len(self._texts)} texts (about {sum(self._lengths)} tokens) "
                "are embedded anew; embed artifacts made before keep the former vectors until they are made anew with "
                "force"
            )

    def _request(self, places: Sequence[int]) -> Request:
        texts, keys = [self._texts[p] for p in places], tuple(self._keys[p] for p in places)
        tokens = sum(min(self._lengths[p], MAX_TOKENS) for p in places)
        most = sum(len(text.encode()) + 1 for text in texts)
        body: dict[str, Any] = {"model": self._model, "input": texts}
        return Request(request_key(keys, self._learnt), "embeddings", self._model, body, tokens, most, input_keys=keys)


def request_key(keys: Sequence[str], learnt: Learnt) -> str:
    """Names the request for the vectors of these texts."""
    return digest_of(["embeddings", list(keys), *([learnt.changes] if learnt.changes else [])])


async def keep(ledger: Ledger, key: str, parts: Sequence[str], found: Embeddings) -> None:
    """Keep the vectors of an answer, by the keys of its texts."""
    await ledger.keep_vectors([(parts[place], vector.tobytes()) for place, vector in found.vectors.items()])
    ledger.concluded(key, "validated" if found.vectors else "failed", next(iter(found.faults.values()), None))


def _cut(places: Sequence[int], most: Callable[[], int]) -> Iterator[Sequence[int]]:
    """Parts of at most so many; the limit may fall meanwhile."""
    start = 0
    while start < len(places):
        size = most()
        yield places[start : start + size]
        start += size
