"""The one way to an answer: from the ledger, from whoever has sent the request already, or from the server."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from rlmrec_core.config.text import LlmConfig
from rlmrec_core.llm.answers import ChatAnswer, Usage
from rlmrec_core.llm.budget import Budget, UsageStats
from rlmrec_core.llm.capabilities import Capabilities
from rlmrec_core.llm.errors import (
    FAULTS,
    AnswerLost,
    BrokenAnswer,
    BudgetReached,
    ContextTooLong,
    NotSent,
    Refused,
    RequestDeclined,
    RequestFailed,
    RunStopped,
    asked_wait,
    cut_off,
    is_busy,
    is_throttled,
    is_transient,
    kind_of,
    lacked_room,
    may_be_billed,
)
from rlmrec_core.llm.ledger import Ledger, Outcome, open_ledger
from rlmrec_core.llm.rate_limiter import RateLimiter, reset_wait
from rlmrec_core.llm.request import Request
from rlmrec_core.llm.server import Server
from rlmrec_core.llm.workers import check_stopped

Answer = TypeVar("Answer")
Read = Callable[[bytes], Answer]

_log = logging.getLogger(__name__)
_ATTEMPTS, _BILLED_ATTEMPTS = 6, 2
_CONNECTS = 4  # attempts to connect, over a few seconds, before the server counts as gone
_FORBIDDEN = 3  # refusals (403) in a row after which they are not about single inputs
_MUCH_LONGER = 1.5  # times the cap, from which an answer shows that the server ignores it
_LIE = 10.0  # times what a call reserved that it may cost: as long as that does not fit the budget, one goes at a time
_POLL = 0.2  # seconds between two looks at a request that another process has sent
_backoff = wait_exponential_jitter(multiplier=0.5, max=20.0)


@asynccontextmanager
async def open_client(
    config: LlmConfig, *, ledger: Path, account: str, at_once: int = 1, stats: UsageStats | None = None
) -> AsyncIterator["LlmClient"]:
    """The door to a model server: a client with its ledger, rate limiter, budget and connection.

    Args:
        config: Resolved settings: model, address, limits, budget and prices.
        ledger: SQLite file that keeps every answer; made if it is not there.
        account: The name under which the ledger counts what is spent, over all the runs that it takes.
        at_once: How many processes send to this server at the same time, each with its share of the limits.
        stats: Filled with what the run took, if the caller wants to know; complete after the block.

    Yields:
        The client, to be used inside this event loop.

    Raises:
        MissingSetting: If OPENAI_API_KEY is missing, or a budget has no price to be measured with.
    """
    stats = stats if stats is not None else UsageStats()
    budget = Budget.of(config, account)
    stats.price = budget.price
    with open_ledger(ledger) as opened:
        try:
            async with Server(config.base_url, str(config.model), config.timeout_seconds, config.server) as server:
                server.capabilities = Capabilities.remembered(
                    opened.capabilities(server.name), Capabilities.of(config.server, config.reasoning)
                )
                limiter = RateLimiter(config.concurrency, config.deadline_seconds, at_once)
                client = LlmClient(
                    server, opened, limiter, budget, config.deadline_seconds, stats, config.reasoning != "off"
                )
                try:
                    yield client
                except BaseException as error:
                    cut_off(error)
                    raise
                finally:
                    await client.close()
        finally:
            opened.writes.close()  # what is still to be noted counts, too
            stats.ledger = opened.account(account)


@dataclass
class LlmClient:
    """Answers requests to one server. Equal ones are sent once, faults that pass are waited out, answers are kept."""

    server: Server
    ledger: Ledger
    limiter: RateLimiter
    budget: Budget
    deadline: float = 900.0
    stats: UsageStats = field(default_factory=UsageStats)
    _reasoning: bool = True
    _under_way: dict[str, "asyncio.Task[Any]"] = field(default_factory=dict)
    _stop: RunStopped | None = None
    _paying: int = 0

    def __post_init__(self) -> None:
        self._checked: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._served_at = 0.0  # when the server last gave a whole answer
        self._forbidden = 0  # refusals (403) since then
        self._told_busy = False
        self._lie = _LIE

    async def answer(self, request: Request, read: "Read[Answer]", *, attempts: int = _ATTEMPTS) -> Answer:
        """What `read` makes of the answer to a request.

        Args:
            request: What to send, unless the ledger has its answer.
            read: Makes something of a raw body; raises BrokenAnswer to have the request sent once more.
            attempts: How often to send it where it fails for a while and was not billed.

        Raises:
            RequestFailed: For this request alone; ContextTooLong if a shorter prompt may be served.
            RunStopped: For this request and all that follow.
        """
        # Who asks the same again waits with the first, until the cost is noted, too.
        if request.key in self._under_way:
            self.stats.counts["duplicates"] += 1
        elif (known := self._known(request, read)) is not None:
            self.stats.counts["cache hits"] += 1
            return known
        else:
            self._under_way[request.key] = asyncio.create_task(self._send(request, read, attempts))
        answer: Answer = await asyncio.shield(self._under_way[request.key])
        return answer

    async def close(self) -> None:
        """End what is still under way; the ledger notes what may have been billed."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _known(self, request: Request, read: "Read[Answer]") -> Answer | None:
        """The answer in the ledger; a broken one counts for nothing."""
        outcome, reason = self.ledger.outcome(request.key) or (None, None)
        if outcome == "too long":
            raise ContextTooLong(reason or "")
        if (body := self.ledger.answer(request.key)) is None:
            if outcome == "declined":
                raise RequestDeclined(reason or "")
            return None
        for call_id in self.ledger.unsettled(request.key):
            cost = self.budget.cost(request, Usage.read(body), self.server.capabilities.thoughts)
            self.ledger.settle_later(call_id, cost)
        try:
            return read(body)
        except BrokenAnswer as error:
            self.ledger.concluded(request.key, "failed", str(error))
            return None

    async def _send(self, request: Request, read: "Read[Answer]", attempts: int) -> Answer:
        tries = _Tries(request, time.monotonic() + self.deadline, attempts)
        retrying = AsyncRetrying(
            retry=retry_if_exception(is_transient), stop=tries.enough, wait=self._backoff, reraise=True
        )
        try:
            return await retrying(self._attempt, tries, read)
        except (*FAULTS, TimeoutError) as error:
            verdict = self._verdict(error)
            outcomes: dict[type[Exception], Outcome] = {ContextTooLong: "too long", RequestDeclined: "declined"}
            self.ledger.concluded(request.key, outcomes.get(type(verdict), "failed"), str(verdict))
            raise verdict from None
        except RunStopped as error:
            self._stop = self._stop or error
            raise
        finally:
            del self._under_way[request.key]

    def _verdict(self, error: BaseException) -> RequestFailed | RunStopped:
        """What an error means. One 403 among answers is about its input, several in a row are about us."""
        verdict = self.server.verdict(error)
        if isinstance(error, Refused) and error.refusal.status == 403 and isinstance(verdict, RunStopped):
            self._forbidden += 1
            served = self._served_at or self.stats.counts["cache hits"]
            if served and self._forbidden < _FORBIDDEN:
                return RequestFailed(f"the server refused this request alone: {error}")
        if isinstance(verdict, RunStopped):
            self._stop = self._stop or verdict
        return verdict

    async def _attempt(self, tries: "_Tries", read: "Read[Answer]") -> Answer:
        """One call, from its reservation to its answer. What the server refuses or lacks is put right at once."""
        request = tries.request
        await self._ready()
        call_id = await self._reserve(request)
        if call_id is None and (known := self._known(request, read)) is not None:
            return known
        if call_id is None:
            raise BrokenAnswer("another process got an answer that cannot be read")
        spelt = self.server.capabilities
        self._paying += 1
        try:
            body = await self._exchange(call_id, tries)
        except _SteppedDown:
            return await self._attempt(tries, read)
        finally:
            self._paying -= 1
            self._settled.set()
        try:
            answer = read(body)
        except BrokenAnswer as error:
            self._fault(error)
            self.ledger.concluded(request.key, "failed", str(error))
            tries.count(error)
            raise
        if isinstance(answer, ChatAnswer) and answer.lacks_room and self.gives_room(spelt.thoughts):
            self.ledger.concluded(request.key, "failed", "the model's thoughts took up the room for its answer")
            return await self._attempt(tries, read)
        return answer

    async def _reserve(self, request: Request) -> int | None:
        """The id of a call that may be made now; None if another process has the answer meanwhile."""
        while True:
            if self._stop:
                raise self._stop
            reserved_usd = self.budget.reserved_usd(request, self.server.capabilities.thoughts)
            reserved = await self.ledger.reserve(
                request, reserved_usd, self.budget.account, self.budget.usd, lie=self._lie
            )
            if isinstance(reserved, int):
                return reserved
            if reserved == "known":
                return None
            if reserved == "over budget" and not self._paying:
                raise self._budget_reached(reserved_usd)
            if reserved == "busy" and not self._told_busy:
                self._told_busy = True
                _log.warning("waiting for answers that another process has asked for, one by one or in a batch")
            # Another process has sent it, or what is under way has set aside more than it will cost.
            self._settled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), _POLL)

    def _budget_reached(self, reserved_usd: float) -> BudgetReached:
        spent = self.ledger.account(self.budget.account)
        return BudgetReached(
            f"the next request may cost ${reserved_usd:.4f}, more than what is left of the budget of "
            f"${self.budget.usd}: ${spent['usd']:.4f} are spent "
            f"and ${spent['possibly_billed_usd']:.4f} may have been billed; all answers are kept: "
            "raise budget_usd and run again"
        )

    async def _exchange(self, call_id: int, tries: "_Tries") -> bytes:
        """Send a reserved call and keep its raw answer."""
        request, sent = tries.request, False
        spelt = self.server.capabilities
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout_at(_loop_time(tries.deadline)) as patience:
                async with self.limiter.slot(request.input_tokens + request.max_output_tokens) as sent_at:
                    patience.reschedule(None)
                    check_stopped()
                    if self._stop:
                        raise self._stop
                    await self.ledger.sent(call_id)
                    sent = True
                    self.stats.counts["calls"] += 1
                    body, headers = await self.server.send(request)
            await self.ledger.answered(call_id, request.key, body)
        except BaseException as error:
            self._without_answer(call_id, sent, error)
            if isinstance(error, FAULTS):
                self._fault(error)
                tries.count(error, served_since=self._served_at > tries.started)
                self._learn_from(error, spelt, sent_at, request)
            raise
        self._served_at, self._forbidden = time.monotonic(), 0
        self.limiter.observe(headers)
        self.limiter.went_well()
        self.stats.latency(time.monotonic() - sent_at)
        await self._settle(call_id, request, body, spelt.thoughts)
        return body

    def _without_answer(self, call_id: int, sent: bool, error: BaseException) -> None:
        if not sent or isinstance(error, NotSent):
            self.ledger.released(call_id)
            return
        lost = not isinstance(error, Refused)
        self.stats.counts["possibly billed"] += lost
        self.ledger.unanswered(call_id, kind_of(error) if isinstance(error, FAULTS) else "cancelled", lost=lost)

    async def _settle(self, call_id: int, request: Request, body: bytes, thoughts: int) -> None:
        cost = self.budget.cost(request, Usage.read(body), thoughts)
        self.stats.counts["usage estimated"] += cost.estimated
        if request.max_output_tokens and not cost.estimated:
            most = request.max_output_tokens + thoughts
            if cost.tokens_out > _MUCH_LONGER * most and (other := self.server.capabilities.after_long_answer()):
                _log.warning("an answer has %d tokens, the cap is %d: the server ignores it", cost.tokens_out, most)
                self._now_spelt(other)
        reserved_usd = self.budget.reserved_usd(request, thoughts)
        if cost.usd and reserved_usd:
            self._lie = max(self._lie, cost.usd / reserved_usd)
        await self.ledger.settled(call_id, cost)

    def _fault(self, error: BaseException) -> None:
        self.stats.faults[kind_of(error)] += 1

    def _learn_from(self, error: BaseException, spelt: Capabilities, sent_at: float, request: Request) -> None:
        """Let the limiter pause, or change how requests are spelt. Raises _SteppedDown if it did."""
        if isinstance(error, Refused):
            self.limiter.observe(error.headers)
            wait = asked_wait(error.headers)
            if is_throttled(error):
                self.limiter.throttled(sent_at, wait or reset_wait(error.headers) or 1.0)
            elif wait is not None and is_transient(error):
                self.limiter.throttled(sent_at, wait)
            if lacked_room(error) and self.gives_room(spelt.thoughts):
                raise _SteppedDown from error
            if error.refusal.status in {400, 404, 422} and self._step_down(spelt, error, request):
                raise _SteppedDown from error
        if isinstance(error, AnswerLost) and error.timed_out:
            self.limiter.strained(sent_at)

    def _step_down(self, spelt: Capabilities, error: Refused, request: Request) -> bool:
        """Whether the request should be sent again, spelt otherwise."""
        if request.endpoint != "chat":
            return False
        lower = spelt.after_refusal(error.refusal, request.body)
        if lower is None:
            return False
        if spelt == self.server.capabilities:
            self._now_spelt(lower)
        return True  # otherwise another request has learnt it meanwhile

    def gives_room(self, thoughts: int) -> bool:
        """Whether there is, or can be, more room for thoughts from now on than these tokens, which were too few."""
        if thoughts < self.server.capabilities.thoughts:
            return True
        if (roomier := self.server.capabilities.with_room_for_thoughts()) is None or not self._reasoning:
            return False
        _log.warning("the model's thoughts take up the room for its answers: they get %d tokens more", roomier.thoughts)
        self._now_spelt(roomier)
        return True

    def _now_spelt(self, capabilities: Capabilities) -> None:
        _log.warning("requests to this server are spelt otherwise from now on: %s", capabilities.to_json())
        self.server.capabilities = capabilities
        self.ledger.learnt(self.server.name, capabilities.to_json())

    async def _ready(self) -> None:
        """Make sure that the server can be reached before the first paid request."""
        self._checked = self._checked or asyncio.create_task(self.server.check())
        await asyncio.shield(self._checked)

    def _backoff(self, state: RetryCallState) -> float:
        """Seconds that this request waits; what a 429 asks for, all wait."""
        error = state.outcome.exception() if state.outcome else None
        at_once = isinstance(error, NotSent) and error.closed
        return 0.0 if at_once or (error and is_throttled(error)) else _backoff(state)


class _SteppedDown(Exception):
    """The same request is worth sending again at once, without the parameter that was refused."""


@dataclass
class _Tries:
    """How much patience one request deserves."""

    request: Request
    deadline: float
    attempts: int
    billed: int = 0
    failed: int = 0
    unreached: int = 0
    started: float = field(default_factory=time.monotonic)

    def count(self, error: BaseException, *, served_since: bool = True) -> None:
        """Note a fault. Being throttled, or a server that serves nobody yet, costs patience only by the clock."""
        if isinstance(error, NotSent) and not error.closed:
            self.unreached += 1
        elif may_be_billed(error):
            self.billed += 1
        elif not is_throttled(error) and (served_since or not is_busy(error)):
            self.failed += 1

    def enough(self, _: RetryCallState) -> bool:
        """Whether to give up."""
        late = time.monotonic() >= self.deadline
        return (
            late
            or self.billed >= _BILLED_ATTEMPTS
            or self.failed + self.billed >= self.attempts
            or self.unreached >= _CONNECTS
        )


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()
