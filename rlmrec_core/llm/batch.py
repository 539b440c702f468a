"""The batch client: the same requests under the same keys, handed in as files, answered within a day at half the price.

A batch is claimed in the ledger, submitted under a name of its own, waited for and read, whatever process does which:
after a crash, or a creation of which nothing was heard, it is found again before anything is submitted a second time.
Every state has a way out; `batch_ledger` lists them.
"""

import asyncio
import itertools
import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from rlmrec_core.canonical import canonical_json
from rlmrec_core.config.text import LlmConfig
from rlmrec_core.llm.answers import BatchRow, ChatAnswer, Refusal, Usage
from rlmrec_core.llm.batch_ledger import BatchLedger, OpenBatch, RowState
from rlmrec_core.llm.batch_server import BatchServer, RemoteBatch, has_no, lacks_batches, worth_waiting
from rlmrec_core.llm.budget import Budget, Cost
from rlmrec_core.llm.client import LlmClient
from rlmrec_core.llm.errors import (
    FAULTS,
    BrokenAnswer,
    BudgetReached,
    ContextTooLong,
    NotSent,
    Refused,
    RequestDeclined,
    RequestFailed,
    RunStopped,
    ServerRefused,
)
from rlmrec_core.llm.request import PATHS, Request

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)
_MOST_BYTES = 190_000_000  # of one file; the limit is 200 MB
_MOST_BATCHES = 3  # that one request is put into in one run
_SENT = {"response_format": {}, "max_completion_tokens": 0, "temperature": 0}  # what a refusal may complain of
_LISTED_SECONDS = 900.0  # after which a batch that no list shows was not begun
_LOOKS, _LOOKS_SECONDS = 30, 10.0  # at the list in one run: so many, but for so long at least
_MISSES = 4  # looks for a batch or a file after which it is not there
_CREATIONS = 4  # attempts to begin a batch that the server says it did not begin
_LASTS = 26 * 3600.0  # seconds after which a batch should have ended long ago
_TELL = 600.0  # seconds between two lines about a batch that is waited for
_WAY_OUT = (
    'To ask its requests anew instead, which may be billed twice, run again with llm.open_batches = "abandon" '
    "(in the section of the profiles)"
)
_ODD_LINE_ENDS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"}


class BatchClient:
    """Has requests answered in batches, in two passes that the caller repeats until nothing is left to collect.

    `collect` writes the requests that have no answer yet into a file beside the ledger, `submit` has them answered, and
    `answer` reads the ledger. Online and batch share their answers, since they share the ledger.
    """

    def __init__(self, client: LlmClient, config: LlmConfig) -> None:
        """client: An open client, whose ledger, budget, server and statistics are used. config: Resolved settings."""
        self.server, self.ledger, self.stats = client.server, client.ledger, client.stats
        self._client = client
        # At the batch price also where a run that asks one by one reads an earlier run's batch.
        self.budget = Budget.of(config.model_copy(update={"mode": "batch"}), client.budget.account)
        self._most_requests, self._poll_seconds = config.batch_requests, config.batch_poll_seconds
        self._abandon = config.open_batches == "abandon"
        self._remote, self._batches = BatchServer(self.server), BatchLedger(self.ledger)
        self._collected: dict[str, Request] = {}
        self._tried: Counter[str] = Counter()
        self._thoughts: dict[str, int] = {}  # the room for them that requests of this run had
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
            answer = read(body)
            if not self._cut_off_in_thought(request, answer):
                return answer
            reason = "the model's thoughts took up the room for its answer"
        except BrokenAnswer as error:
            reason = str(error)
        self.ledger.concluded(request.key, "failed", reason)
        self._reasons[request.key] = reason
        return None

    def _cut_off_in_thought(self, request: Request, answer: object) -> bool:
        """Whether an answer of this run lacks room that the next batch can give."""
        had = self._thoughts.get(request.key)
        lacks_room = isinstance(answer, ChatAnswer) and answer.lacks_room
        return had is not None and lacks_room and self._client.gives_room(had)

    async def answer(self, request: Request, read: Callable[[bytes], Answer]) -> Answer:
        """As `known`, for the pass that reads. Raises RequestFailed where no batch has brought an answer."""
        if (answer := self.known(request, read)) is not None:
            return answer
        outcome = self.ledger.outcome(request.key)
        raise RequestFailed(self._reasons.get(request.key) or (outcome and outcome[1]) or "no batch has answered it")

    def _line(self, request: Request) -> str:
        body = self.server.capabilities.spell(request.body)
        self._thoughts[request.key] = self.server.capabilities.thoughts
        url = f"/v1{PATHS[request.endpoint]}"
        line = canonical_json({"custom_id": request.key, "method": "POST", "url": url, "body": body})
        for character, escape in _ODD_LINE_ENDS.items():  # some servers end a line there
            line = line.replace(character, escape)
        return line + "\n"

    # Submitting

    async def submit(self) -> None:
        """Have what was collected answered, as far as nobody else does; returns when all open batches have ended.

        Raises BudgetReached or ServerRefused.
        """
        await self.resume()
        name, thoughts = uuid.uuid4().hex, self.server.capabilities.thoughts
        priced = [(request, self.budget.reserved_usd(request, thoughts)) for request in self._collected.values()]
        claimed, short = await self._batches.claim(name, self.server.name, self.budget.account, priced, self.budget.usd)
        if not claimed and short:
            raise BudgetReached(
                f"the next request may cost more than what is left of the budget of ${self.budget.usd}: what was "
                "paid for is kept; raise budget_usd and run again"
            )
        if not claimed:
            _log.warning("all %d requests are in batches of another process: waiting for it", len(self._collected))
            await asyncio.sleep(self._poll_seconds)
            return
        self._tried.update(claimed)
        self.stats.counts["batched requests"] += len(claimed)
        file = self._only(name, claimed)
        try:
            batch = await self._submitted(name, file)
        finally:
            file.unlink(missing_ok=True)
        remote = await self._finish(batch)
        if remote and remote.status == "failed":
            self._understand(remote)

    def _only(self, name: str, claimed: set[str]) -> Path:
        """The collected file without the requests that were not claimed."""
        path = self._folder / f"{name}.jsonl"
        with self._spool.open(encoding="utf-8") as collected, path.open("w", encoding="utf-8") as kept:
            kept.writelines(line for line in collected if json.loads(line)["custom_id"] in claimed)
        return path

    @property
    def _spool(self) -> Path:
        return self._folder / f"collected-{self.ledger.owner}.jsonl"

    async def _submitted(self, name: str, file: Path) -> OpenBatch:
        """Upload a file and begin its batch."""
        try:
            file_id = await self._remote.upload(file)
            for attempt in range(_CREATIONS):
                batch = await self._batches.now(name, "creating", file_id=file_id)
                try:
                    remote_id = (await self._remote.create(name, file_id)).id
                    return await self._batches.now(name, "submitted", remote_id=remote_id)
                except FAULTS as error:
                    if not _may_have_begun(error) and not worth_waiting(error):
                        raise
                    if _may_have_begun(error) and (found := await self._listed(batch, patient=not _is_busy(error))):
                        return found
                    if attempt + 1 == _CREATIONS:
                        raise
                    await asyncio.sleep(min(2.0**attempt, self._poll_seconds))
            raise AssertionError("the last attempt either returns or raises")
        except FAULTS as error:
            await self._batches.close(name, f"it was not begun: {error}")
            raise self._stopped_by(error, "begin a batch") from None

    async def _listed(self, batch: OpenBatch, *, patient: bool = True) -> OpenBatch | None:
        """A batch of whose creation nothing was heard, if the server lists it; None if it counts as not begun.

        Raises ServerRefused while that cannot be known.
        """
        until = time.monotonic() + _LOOKS_SECONDS
        for look in itertools.count(1):
            try:
                remote_id, listed = await self._remote.find(batch.name, batch.file_id), True
            except FAULTS as error:
                remote_id, listed = None, isinstance(error, Refused) and lacks_batches(error)
            if remote_id:
                return await self._batches.now(batch.name, "submitted", remote_id=remote_id)
            if listed and (time.time() - batch.since > _LISTED_SECONDS or (not patient and look == _MISSES)):
                return None
            if look >= _LOOKS and time.monotonic() >= until:
                break
            if look == 2:
                _log.warning("no word on whether a batch of %d requests was begun: looking for it", batch.requests)
            await asyncio.sleep(self._poll_seconds)
        raise ServerRefused(
            f"the server did not say whether it began the batch {batch.name} of {batch.requests} requests, and does "
            f"not list it: nothing is asked twice. Run again: it is looked for until {_clock(batch.since)}, and then "
            f"counts as not begun. {_WAY_OUT}"
        )

    # Waiting and reading

    async def resume(self) -> None:
        """Finish the batches that earlier runs, or other processes, have left open.

        Raises ServerRefused, with the way out, where one of them stands in the way.
        """
        abandon, self._abandon = self._abandon, False
        for batch in await self._batches.open(self.server.name):
            try:
                await (self._abandoned(batch) if abandon else self._resumed(batch))
            except FAULTS as error:
                stopped = self._stopped_by(error, f"read the batch {batch.remote_id or batch.name}")
                raise ServerRefused(f"{stopped}. It holds {batch.requests} requests. {_WAY_OUT}") from None

    async def _resumed(self, batch: OpenBatch) -> None:
        if batch.remote_id is None and batch.state == "claimed":
            await self._batches.close(batch.name, "its process ended before it was submitted")
            return
        found = batch if batch.remote_id else await self._listed(batch)
        if found is None:
            await self._batches.close(batch.name, "no list shows it: it was not begun", lost=True)
            return
        remote = await self._finish(found, resumed=True)
        if remote and remote.status == "failed":
            _log.warning("the batch %s of an earlier run failed: %s", remote.id, remote.errors)

    async def _abandoned(self, batch: OpenBatch) -> None:
        """Give a batch up, unless it has ended and can be read."""
        try:
            remote = await self._remote.retrieve(batch.remote_id) if batch.remote_id else None
            if remote and remote.ended:
                await self._finish(batch)
            elif remote:
                await self._remote.cancel(remote.id)
        except (*FAULTS, RunStopped) as error:
            _log.warning("the batch %s could not be cancelled: %s", batch.remote_id, error)
        left = await self._batches.close(batch.name, "abandoned", lost=batch.state != "claimed")
        if left:
            _log.warning("abandoned a batch: %d requests are asked anew, and may be billed twice", len(left))

    async def _finish(self, batch: OpenBatch, *, resumed: bool = False) -> RemoteBatch | None:
        """Wait for a batch to end, and read what came of it. None if there was nothing to be read."""
        try:
            remote = await self._ended(batch, resumed=resumed)
        except Refused as error:
            if not has_no(error):
                raise
            await self._gone(batch, f"the server does not know the batch {batch.remote_id} any more ({error})")
            return None
        if remote is None:
            return None  # another process has abandoned it
        vanished, unread = None, 0
        for file_id in remote.files:
            try:
                rows = await self._still(partial(self._remote.rows, file_id))
            except Refused as error:
                if not has_no(error):
                    raise
                vanished = f"the results of the batch {remote.id} are not on the server any more ({error})"
                continue
            for row in rows:
                await asyncio.sleep(0)
                unread += row is None
                if row is not None:
                    await self._read(batch.name, row)
        if unread:
            self.stats.faults["batch row unreadable"] += unread
        if vanished:
            await self._gone(batch, vanished)
            return None
        # A line that cannot be read was billed, whosever it is.
        left = await self._batches.close(batch.name, f"the batch ended {remote.status}", lost=unread > 0)
        self._reasons.update(dict.fromkeys(left, f"left without an answer by a batch that ended {remote.status}"))
        self.stats.counts["batches"] += 1
        if left:
            self.stats.faults[f"batch row missing ({remote.status})"] += len(left)
        return remote

    async def _ended(self, batch: OpenBatch, *, resumed: bool) -> RemoteBatch | None:
        """A batch when it has ended; None if another process has closed it meanwhile."""
        told = -_TELL
        while True:
            remote = await self._still(partial(self._remote.retrieve, str(batch.remote_id)))
            if remote.ended:
                return remote
            if batch.since and time.time() - batch.since > _LASTS:
                raise ServerRefused(
                    f"the batch {remote.id} of {batch.requests} requests is still {remote.status} after a day. "
                    f"{_WAY_OUT}"
                )
            if time.monotonic() - told >= _TELL:
                told = time.monotonic()
                line = f"the batch {remote.id} holds {batch.requests} requests and is {remote.status} {remote.counts}: "
                _log.log(
                    logging.WARNING if resumed else logging.INFO, "%swaiting for it. %s", line, _WAY_OUT
                )  # fmt: skip
            await asyncio.sleep(self._poll_seconds)
            if not await self._batches.is_open(batch.name):
                return None

    async def _still(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """As asked; what is not there is looked for a few times, since a server's parts learn of it one by one."""
        for _ in range(_MISSES - 1):
            try:
                return await ask()
            except Refused as error:
                if not has_no(error):
                    raise
                await asyncio.sleep(self._poll_seconds)
        return await ask()

    async def _gone(self, batch: OpenBatch, what: str) -> None:
        """Results that cannot be had: a first run says so, and stops; the next one asks anew."""
        if batch.state == "gone":
            left = await self._batches.close(batch.name, what[:500], lost=True)
            _log.warning("%s: %d requests are asked anew, and may be billed twice", what, len(left))
            return
        await self._batches.now(batch.name, "gone")
        raise ServerRefused(
            f"{what}: what it made of its {batch.requests} requests is lost, or belongs to another OPENAI_API_KEY, "
            "with which it can still be read. Run again, and they are asked anew; what they may have cost stays in the "
            "sums as possibly billed"
        )

    async def _read(self, name: str, row: BatchRow) -> None:
        if row.body is not None:
            cost = self._cost(row.key, Usage.read(row.body))
            known = await self._batches.answered(name, row.key, row.body, cost)
        else:
            refusal = row.refusal or Refusal(0, "")
            known = await self._unserved(name, row.key, refusal)
            self.stats.faults[f"batch row {refusal.status or next(iter(sorted(refusal.codes)), 'error')}"] += 1
        if not known:
            self.stats.faults["batch row unknown or double"] += 1

    def _cost(self, key: str, usage: Usage) -> Callable[[float, int], Cost]:
        """What a row was billed: all that was set aside for it, if the server does not say."""
        price, request = self.budget.price, self._collected.get(key)

        def cost(held: float, counted_in: int) -> Cost:
            told = bool(usage.tokens_in and usage.tokens_out)
            tokens_in = usage.tokens_in or counted_in
            tokens_out = usage.tokens_out or (request.max_output_tokens if request else 0)
            usd = price.of(tokens_in, tokens_out) if price else None
            return Cost(usd if told or usd is None else max(usd, held), tokens_in, tokens_out, estimated=not told)

        return cost

    async def _unserved(self, name: str, key: str, refusal: Refusal) -> bool:
        """Note why a row was not served; one that is simply wrong is not put into another batch."""
        status = refusal.status
        verdict = self.server.verdict(Refused(refusal, {}))
        reason = self.server.redact.text(str(refusal))
        self._reasons[key] = reason
        states: dict[type[Exception], RowState] = {ContextTooLong: "too long", RequestDeclined: "declined"}
        state = states.get(type(verdict), "failed")
        lower = self.server.capabilities.after_refusal(refusal, _SENT) if status in {400, 422} else None
        if lower and state == "failed":
            self.server.capabilities = lower
            self.ledger.learnt(self.server.name, lower.to_json())
        elif 400 <= status < 500 and status not in {408, 409, 429}:
            self._tried[key] = _MOST_BATCHES
        return await self._batches.unanswered(name, key, reason, state)

    def _understand(self, remote: RemoteBatch) -> None:
        """A batch that failed as a whole: make the next one smaller if it was too much, else stop."""
        if remote.was_too_much and self._most_requests > 1 and len(self._collected) > 1:
            self._most_requests = max(min(self._most_requests, len(self._collected)) // 2, 1)
            self._tried.clear()
            return
        raise ServerRefused(f"the server failed the batch {remote.id}: {str(remote.errors)[:500]}")

    def _stopped_by(self, error: BaseException, what: str) -> RunStopped:
        """Why a batch cannot be had at all."""
        if isinstance(error, Refused) and lacks_batches(error):
            return ServerRefused(
                f'{self.server.where} offers no batches (it refuses to {what}: {error}): set llm.mode = "online"'
            )
        return ServerRefused(f"{self.server.where} did not {what}: {self.server.verdict(error)}")


def _may_have_begun(error: BaseException) -> bool:
    """Whether a batch may have begun although its creation was answered so."""
    if isinstance(error, Refused):
        return not lacks_batches(error) and (error.refusal.status >= 500 or error.refusal.status in {408, 409})
    return not isinstance(error, NotSent)


def _is_busy(error: BaseException) -> bool:
    """Whether the server says that it is: then it has rarely begun a batch."""
    return isinstance(error, Refused) and error.refusal.status in {503, 529}


def _clock(since: float) -> str:
    return time.strftime("%H:%M", time.localtime(since + _LISTED_SECONDS))
