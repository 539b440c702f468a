"""The batch client: the same requests under the same keys, handed in as files, answered within a day at half the price.

A batch is claimed in the ledger, submitted under a name of its own, waited for and read, whatever process does which:
after a crash it is found again by that name before anything is submitted a second time.
"""

import asyncio
import json
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import openai
from openai.types import Batch
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from rlmrec_core.config.text import LlmConfig
from rlmrec_core.llm.answers import Refusal, Usage
from rlmrec_core.llm.batch_ledger import BatchLedger, OpenBatch
from rlmrec_core.llm.client import LlmClient
from rlmrec_core.llm.errors import (
    FAULTS,
    BrokenAnswer,
    BudgetReached,
    ContextTooLong,
    RequestDeclined,
    RequestFailed,
    ServerRefused,
    is_too_long,
    is_transient,
)
from rlmrec_core.llm.request import PATHS, Request, canonical_json

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)
_MARK = "rlmrec"  # the metadata entry that holds a batch's name
_TERMINAL = frozenset({"completed", "failed", "expired", "cancelled"})
_MOST_BYTES = 190_000_000  # of one file; the limit is 200 MB
_MOST_BATCHES = 3  # that one request is put into in one run
_SENT = {"response_format": {}, "max_completion_tokens": 0, "temperature": 0}  # what a refusal may complain of
_backoff = wait_exponential_jitter(multiplier=0.5, max=60.0)


class BatchClient:
    """Has requests answered in batches, in two passes that the caller repeats until nothing is left to collect.

    `collect` writes the requests that have no answer yet into a file beside the ledger, `submit` has them answered, and
    `answer` reads the ledger. Online and batch share their answers, since they share the ledger.
    """

    def __init__(self, client: LlmClient, config: LlmConfig) -> None:
        """client: An open client, whose ledger, budget, server and statistics are used. config: Resolved settings."""
        self.server, self.ledger, self.budget, self.stats = client.server, client.ledger, client.budget, client.stats
        self._most_requests, self._poll_seconds = config.batch_requests, config.batch_poll_seconds
        self._batches = BatchLedger(self.ledger)
        self._collected: dict[str, Request] = {}
        self._tried: Counter[str] = Counter()
        self._reasons: dict[str, str] = {}
        self._folder = self.ledger.path.with_name(f"{self.ledger.path.name}.batches")

    async def collect(self, requests: Iterable[Request]) -> int:
        """Write the next batch's file: as many of the requests as one batch holds. Returns how many.

        A request that was in several batches of this run already is left out.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._collected, size = {}, 0
        with self._spool.open("w", encoding="utf-8") as file:
            for request in requests:
                await asyncio.sleep(0)
                if request.key in self._collected:
                    self.stats.counts["duplicates"] += 1
                elif self._tried[request.key] < _MOST_BATCHES:
                    line = self._line(request)
                    file.write(line)
                    size += len(line.encode())
                    self._collected[request.key] = replace(request, body={})
                if len(self._collected) >= self._most_requests or size >= _MOST_BYTES:
                    break
        return len(self._collected)

    def known(self, request: Request, read: Callable[[bytes], Answer]) -> Answer | None:
        """What `read` makes of the answer in the ledger; None if there is none. Raises ContextTooLong."""
        outcome = self.ledger.outcome(request.key)
        if outcome and outcome[0] == "too long":
            raise ContextTooLong(outcome[1] or "")
        if (body := self.ledger.answer(request.key)) is None:
            if outcome and outcome[0] == "declined":
                raise RequestDeclined(outcome[1] or "")
            return None
        try:
            return read(body)
        except BrokenAnswer as error:
            self.ledger.concluded(request.key, "failed", str(error))
            self._reasons[request.key] = str(error)
            return None

    async def answer(self, request: Request, read: Callable[[bytes], Answer]) -> Answer:
        """As `known`, for the pass that reads. Raises RequestFailed where no batch has brought an answer."""
        if (answer := self.known(request, read)) is not None:
            return answer
        outcome = self.ledger.outcome(request.key)
        raise RequestFailed(self._reasons.get(request.key) or (outcome and outcome[1]) or "no batch has answered it")

    def _line(self, request: Request) -> str:
        body = self.server.capabilities.spell(request.body)
        url = f"/v1{PATHS[request.endpoint]}"
        return canonical_json({"custom_id": request.key, "method": "POST", "url": url, "body": body}) + "\n"

    async def submit(self) -> None:
        """Have what was collected answered, as far as nobody else does; returns when all open batches have ended.

        Raises BudgetReached or ServerRefused.
        """
        await self.resume()
        name = uuid.uuid4().hex
        priced = [(request, self.budget.reserved_usd(request)) for request in self._collected.values()]
        claimed, short = await self._batches.claim(name, self.server.name, self.budget.account, priced, self.budget.usd)
        if not claimed and short:
            raise BudgetReached(
                f"the next request may cost more than what is left of the budget of ${self.budget.usd}: what was "
                "paid for is kept; raise budget_usd and run again"
            )
        if not claimed:
            await asyncio.sleep(self._poll_seconds)  # another process has them all
            return
        self._tried.update(claimed)
        self.stats.counts["batched requests"] += len(claimed)
        await self._finish(OpenBatch(name, await self._submitted(name, self._only(name, claimed))))

    async def resume(self) -> None:
        """Finish the batches that earlier runs, or other processes, have left open."""
        for batch in await self._batches.open(self.server.name):
            remote_id = batch.remote_id or await self._found(batch.name)
            if remote_id is None:
                await self._batches.close(batch.name, "its process ended before it was submitted")
            else:
                await self._finish(OpenBatch(batch.name, remote_id))

    def _only(self, name: str, claimed: set[str]) -> Path:
        """The collected file without the requests that were not claimed."""
        path = self._folder / f"{name}.jsonl"
        with self._spool.open(encoding="utf-8") as collected, path.open("w", encoding="utf-8") as kept:
            kept.writelines(line for line in collected if json.loads(line)["custom_id"] in claimed)
        return path

    @property
    def _spool(self) -> Path:
        return self._folder / f"collected-{self.ledger.owner}.jsonl"

    async def _submitted(self, name: str, file: Path) -> str:
        """Upload a file and begin its batch; found by its name if an earlier attempt began it unheard."""

        async def begin() -> str:
            if found := await self._found(name):
                return found
            client = self.server.client
            with file.open("rb") as content:
                uploaded = await client.files.create(file=(file.name, content), purpose="batch")
            made = await client.batches.create(
                input_file_id=uploaded.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_MARK: name},
            )
            return made.id

        remote_id = await self._patiently(begin)
        await self._batches.submitted(name, remote_id)
        file.unlink()
        return remote_id

    async def _found(self, name: str) -> str | None:
        async def look() -> str | None:
            async for batch in self.server.client.batches.list(limit=100):
                if (batch.metadata or {}).get(_MARK) == name:
                    return batch.id
            return None

        return await self._patiently(look)

    async def _finish(self, batch: OpenBatch) -> None:
        """Wait for a batch to end, and read what came of it."""
        remote = await self._ended(str(batch.remote_id))
        for file_id in (remote.output_file_id, remote.error_file_id):
            async for row in self._rows(file_id):
                await self._read(batch.name, row)
        left = await self._batches.close(batch.name, f"the batch ended {remote.status}")
        self._reasons.update(dict.fromkeys(left, f"left without an answer by a batch that ended {remote.status}"))
        self.stats.counts["batches"] += 1
        if left:
            self.stats.faults[f"batch row missing ({remote.status})"] += len(left)
        if remote.status == "failed":
            self._understand(remote)

    async def _ended(self, remote_id: str) -> Batch:
        while True:
            remote = await self._patiently(lambda: self.server.client.batches.retrieve(remote_id))
            if remote.status in _TERMINAL:
                return remote
            counts = remote.request_counts
            _log.info("batch %s: %s, %s", remote_id, remote.status, counts.model_dump() if counts else "")
            await asyncio.sleep(self._poll_seconds)

    async def _rows(self, file_id: str | None) -> AsyncIterator[dict[str, Any]]:
        """The rows of a result file; a line that is no JSON object is counted and passed over."""
        if file_id is None:
            return
        content = await self._patiently(lambda: self.server.client.files.content(file_id))
        for line in content.text.splitlines():
            try:
                row = json.loads(line)
                yield {"custom_id": str(row["custom_id"]), "response": row.get("response"), "error": row.get("error")}
            except (ValueError, LookupError, TypeError, AttributeError):
                self.stats.faults["batch row unreadable"] += bool(line.strip())

    async def _read(self, name: str, row: dict[str, Any]) -> None:
        key, response = row["custom_id"], row["response"] or {}
        status = response.get("status_code")
        if status == 200:
            body = canonical_json(response.get("body")).encode()
            request = self._collected.get(key) or Request(key, "chat", "", {}, 0, 0)
            known = await self._batches.answered(name, key, body, self.budget.cost(request, Usage.read(body)))
        else:
            refusal = Refusal.of(status if isinstance(status, int) else 0, [row["error"], response.get("body")])
            known = await self._unserved(name, key, refusal)
            self.stats.faults[f"batch row {status or next(iter(sorted(refusal.codes)), 'error')}"] += 1
        if not known:
            self.stats.faults["batch row unknown or double"] += 1

    async def _unserved(self, name: str, key: str, refusal: Refusal) -> bool:
        """Note why a row was not served; one that is simply wrong is not put into another batch."""
        status, reason = refusal.status, str(refusal)
        self._reasons[key] = reason
        too_long = is_too_long(refusal)
        lower = None
        if status in {400, 422} and not too_long:
            lower = self.server.capabilities.after_refusal(refusal, _SENT)
        if lower:
            self.server.capabilities = lower
            self.ledger.learnt(self.server.name, lower.to_json())
        elif 400 <= status < 500 and status not in {408, 409, 429}:
            self._tried[key] = _MOST_BATCHES
        return await self._batches.unanswered(name, key, reason, "too long" if too_long else "failed")

    def _understand(self, remote: Batch) -> None:
        """A batch that failed as a whole: make the next one smaller if it was too much, else stop."""
        errors = (remote.errors and remote.errors.data) or []
        if any(error.code == "token_limit_exceeded" for error in errors) and self._most_requests > 1:
            self._most_requests = max(min(self._most_requests, len(self._collected)) // 2, 1)
            self._tried.clear()
            return
        reasons = "; ".join(f"{error.code}: {error.message}" for error in errors) or "no reason given"
        raise ServerRefused(f"the server failed the batch {remote.id}: {reasons[:500]}")

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Something that costs nothing, asked again until it is answered."""

        async def attempt() -> Answer:
            try:
                return await ask()
            except (openai.OpenAIError, TimeoutError) as error:
                raise self.server.fault(error) from None

        retrying = AsyncRetrying(
            retry=retry_if_exception(is_transient), stop=stop_after_attempt(6), wait=_backoff, reraise=True
        )
        try:
            return await retrying(attempt)
        except FAULTS as error:
            raise ServerRefused(str(self.server.verdict(error))) from None
