"""The one way to an answer: from the ledger, by waiting for whoever is asking already, or from the server."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_exponential_jitter

from rlmrec_core.llm.answers import Usage
from rlmrec_core.llm.calls import Call
from rlmrec_core.llm.capabilities import Capabilities
from rlmrec_core.llm.errors import (
    BrokenAnswer,
    BudgetReached,
    ContextTooLong,
    RunStopped,
    asked_wait,
    is_throttled,
    is_transient,
    kind_of,
    may_be_billed,
)
from rlmrec_core.llm.lane import Lane, reset_wait
from rlmrec_core.llm.ledger import Ledger, Outcome
from rlmrec_core.llm.meter import Meter
from rlmrec_core.llm.purse import Purse
from rlmrec_core.llm.server import Server

Answer = TypeVar("Answer")
Read = Callable[[bytes], Answer]

_log = logging.getLogger(__name__)
_ATTEMPTS, _BILLED_ATTEMPTS = 6, 2
_POLL = 0.2  # seconds between two looks at a request that another process is asking
_backoff = wait_exponential_jitter(multiplier=0.5, max=60.0)


@dataclass
class Desk:
    """Answers calls to one server. Equal calls are made once, faults that pass are waited out, answers are kept."""

    server: Server
    ledger: Ledger
    lane: Lane
    purse: Purse
    deadline: float = 900.0
    meter: Meter = field(default_factory=Meter)
    _under_way: dict[str, "asyncio.Task[Any]"] = field(default_factory=dict)
    _stop: RunStopped | None = None
    _paying: int = 0

    def __post_init__(self) -> None:
        self._checked: asyncio.Task[None] | None = None
        if known := self.ledger.capabilities(self.server.name):
            self.server.capabilities = Capabilities.from_json(known)
        self._settled = asyncio.Event()

    async def answer(self, call: Call, read: "Read[Answer]") -> Answer:
        """What `read` makes of the answer to a call; `read` raises BrokenAnswer to have it asked once more.

        Raises RequestFailed for this call alone, RunStopped for all that follow.
        """
        if (known := self._known(call, read)) is not None:
            self.meter.counts["cache hits"] += 1
            return known
        if call.key in self._under_way:
            self.meter.counts["duplicates"] += 1
        else:
            self._under_way[call.key] = asyncio.create_task(self._ask(call, read))
        answer: Answer = await asyncio.shield(self._under_way[call.key])
        return answer

    def _known(self, call: Call, read: "Read[Answer]") -> Answer | None:
        """The answer in the ledger; a broken one counts for nothing."""
        outcome = self.ledger.outcome(call.key)
        if outcome and outcome[0] == "too long":
            raise ContextTooLong(outcome[1] or "")
        if (body := self.ledger.answer(call.key)) is None:
            return None
        for call_id in self.ledger.unsettled(call.key):
            cost = self.purse.cost(call, Usage.read(body), body)
            self.ledger.settle_later(call_id, cost)
        try:
            return read(body)
        except BrokenAnswer as error:
            self.ledger.concluded(call.key, "failed", str(error))
            return None

    async def _ask(self, call: Call, read: "Read[Answer]") -> Answer:
        tries = _Tries(call, time.monotonic() + self.deadline)
        retrying = AsyncRetrying(
            retry=retry_if_exception(is_transient), stop=tries.enough, wait=self._backoff, reraise=True
        )
        try:
            return await retrying(self._attempt, tries, read)
        except (openai.OpenAIError, BrokenAnswer, TimeoutError) as error:
            verdict = self.server.verdict(error)
            if isinstance(verdict, RunStopped):
                self._stop = self._stop or verdict
            outcome: Outcome = "too long" if isinstance(verdict, ContextTooLong) else "failed"
            self.ledger.concluded(call.key, outcome, str(verdict))
            raise verdict from None
        except RunStopped as error:
            self._stop = self._stop or error
            raise
        finally:
            del self._under_way[call.key]

    async def _attempt(self, tries: "_Tries", read: "Read[Answer]") -> Answer:
        """One call, from its reservation to its answer. A parameter that the server refuses is left out at once."""
        call = tries.call
        await self._ready()
        call_id = await self._reserve(call)
        if call_id is None and (known := self._known(call, read)) is not None:
            return known
        if call_id is None:
            raise BrokenAnswer("another process got an answer that cannot be read")
        self._paying += 1
        try:
            body = await self._exchange(call_id, tries)
        except _SteppedDown:
            return await self._attempt(tries, read)
        finally:
            self._paying -= 1
            self._settled.set()
        try:
            return read(body)
        except BrokenAnswer as error:
            self._fault(error)
            self.ledger.concluded(call.key, "failed", str(error))
            tries.count(error)
            raise

    async def _reserve(self, call: Call) -> int | None:
        """The id of a call that may be made now; None if another process has the answer meanwhile."""
        while True:
            if self._stop:
                raise self._stop
            held = self.purse.most(call)
            reserved = await self.ledger.reserve(call, held, self.purse.account, self.purse.budget)
            if isinstance(reserved, int):
                return reserved
            if reserved == "known":
                return None
            if reserved == "busy":
                await asyncio.sleep(_POLL)
                continue
            if not self._paying:
                raise BudgetReached(
                    f"the next request may cost ${held:.4f}, more than what is left of the budget of "
                    f"${self.purse.budget}: what was paid for is kept; raise budget_usd and run again"
                )
            # What is under way has set aside more than it will cost.
            self._settled.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), _POLL)

    async def _exchange(self, call_id: int, tries: "_Tries") -> bytes:
        """Send a reserved call and keep its raw answer."""
        call, sent = tries.call, False
        spelt = self.server.capabilities
        sent_at = time.monotonic()
        try:
            async with asyncio.timeout_at(_loop_time(tries.deadline)) as patience:
                async with self.lane.slot(call.tokens_in + call.cap) as sent_at:
                    patience.reschedule(None)
                    if self._stop:
                        raise self._stop
                    await self.ledger.sent(call_id)
                    sent = True
                    self.meter.counts["calls"] += 1
                    response = await self.server.send(call)
                    body: bytes = response.content
            await self.ledger.answered(call_id, call.key, body)
        except BaseException as error:
            self._without_answer(call_id, sent, error)
            if isinstance(error, openai.OpenAIError):
                self._fault(error)
                tries.count(error)
                self._learn_from(error, spelt, sent_at)
            raise
        self.lane.heard(response.headers)
        self.lane.went_well()
        self.meter.latency(time.monotonic() - sent_at)
        await self._settle(call_id, call, body)
        return body

    def _without_answer(self, call_id: int, sent: bool, error: BaseException) -> None:
        if not sent:
            self.ledger.released(call_id)
            return
        lost = not isinstance(error, openai.APIStatusError)
        self.meter.counts["possibly billed"] += lost
        self.ledger.unanswered(call_id, kind_of(error) if isinstance(error, Exception) else "cancelled", lost=lost)

    async def _settle(self, call_id: int, call: Call, body: bytes) -> None:
        usage = Usage.read(body)
        cost = self.purse.cost(call, usage, body)
        self.meter.counts["usage estimated"] += cost.estimated
        if call.cap and cost.tokens_out > call.cap and not cost.estimated:
            self._cap_ignored(cost.tokens_out, call.cap)
        await self.ledger.settled(call_id, cost)

    def _fault(self, error: BaseException) -> None:
        self.meter.faults[kind_of(error)] += 1

    def _learn_from(self, error: openai.OpenAIError, spelt: Capabilities, sent_at: float) -> None:
        """Let the lane pause, or change how requests are spelt. Raises _SteppedDown if it did."""
        if isinstance(error, openai.APIStatusError):
            self.lane.heard(error.response.headers)
            wait = asked_wait(error.response.headers)
            if is_throttled(error):
                self.lane.throttled(sent_at, wait or reset_wait(error.response.headers) or 1.0)
            elif wait is not None and is_transient(error):
                self.lane.throttled(sent_at, wait)
            if error.status_code in {400, 422} and self._step_down(spelt, str(error)):
                raise _SteppedDown from error
        if isinstance(error, openai.APITimeoutError):
            self.lane.strained(sent_at)

    def _step_down(self, spelt: Capabilities, reason: str) -> bool:
        """Whether the request should be sent again, spelt otherwise."""
        if spelt != self.server.capabilities:
            return True  # another request learnt it meanwhile
        lower = spelt.after_refusal(reason)
        if lower is None:
            return False
        self._now_spelt(lower)
        return True

    def _now_spelt(self, capabilities: Capabilities) -> None:
        _log.warning("the server does not take every parameter; from now on: %s", capabilities.to_json())
        self.server.capabilities = capabilities
        self.ledger.learnt(self.server.name, capabilities.to_json())

    def _cap_ignored(self, tokens: int, cap: int) -> None:
        if not self.server.capabilities.settled_cap:
            _log.warning("an answer has %d tokens, the cap is %d: the server ignores it", tokens, cap)
            self._now_spelt(self.server.capabilities.with_other_cap())

    async def _ready(self) -> None:
        """Make sure that the server can be reached before the first paid call."""
        self._checked = self._checked or asyncio.create_task(self.server.check())
        await asyncio.shield(self._checked)

    def _backoff(self, state: RetryCallState) -> float:
        """Seconds that this call waits; what a 429 asks for, the whole lane waits."""
        error = state.outcome.exception() if state.outcome else None
        return 0.0 if error and is_throttled(error) else _backoff(state)


class _SteppedDown(Exception):
    """The same call is worth sending again at once, without the parameter that was refused."""


@dataclass
class _Tries:
    """How much patience one call deserves."""

    call: Call
    deadline: float
    billed: int = 0
    failed: int = 0

    def count(self, error: BaseException) -> None:
        """Note a fault; being throttled costs patience only by the clock."""
        if may_be_billed(error):
            self.billed += 1
        elif not is_throttled(error):
            self.failed += 1

    def enough(self, _: RetryCallState) -> bool:
        late = time.monotonic() >= self.deadline
        return late or self.billed >= _BILLED_ATTEMPTS or self.failed + self.billed >= _ATTEMPTS


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()
