"""One run of a model server over all items or all users."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlmrec_core.config.text import LlmConfig, MissingSetting, ProfileConfig
from rlmrec_core.llm.batch import BatchDesk
from rlmrec_core.llm.desk import Desk
from rlmrec_core.llm.errors import BudgetReached
from rlmrec_core.llm.lane import Lane
from rlmrec_core.llm.ledger import Ledger, open_ledger
from rlmrec_core.llm.meter import Meter
from rlmrec_core.llm.prices import find_price
from rlmrec_core.llm.purse import Purse
from rlmrec_core.llm.server import Server
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.llm.workers import batched_run, in_order
from rlmrec_core.profiling.plan import Plan, planned
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.prompts import PromptWriter
from rlmrec_core.profiling.rows import ProfileRow
from rlmrec_core.profiling.sampling import Side
from rlmrec_core.profiling.sources import Source
from rlmrec_core.profiling.templates import load_templates
from rlmrec_core.profiling.writing import Answering, Extractor, ProfileWriter

_ROWS = 256  # handed on at a time


@dataclass
class Asking:
    """Writes the profiles of one side with a model server, in the order of the sources and in constant memory.

    sources: begins the sources anew each time, since the batch lane goes over them more than once. account: the name
    under which the ledger counts what this costs. Raises MissingSetting if model, key or price is missing.
    """

    sources: Callable[[], Iterable[Source]]
    side: Side
    config: ProfileConfig
    ledger: Path
    account: str
    extractor: Extractor | None = None
    previous: Previous | None = None
    asked: Callable[[], Iterable[Source]] | None = None
    """Those of the sources whose profiles this process writes; None: all."""
    at_once: int = 1
    """Processes that ask at the same time, each with its share of the server's limits."""

    def __post_init__(self) -> None:
        self.config = self.config.resolved()
        self._meter = Meter()
        self._spent: dict[str, Any] = {}
        self.purse = purse_of(self.config.llm, self.account)
        self.prompts = prompt_writer(self.config, self.side)

    def rows(self) -> Iterator[list[ProfileRow]]:
        """All rows, by id. Raises RunStopped, with everything that was paid for in the ledger."""
        with open_ledger(self.ledger) as ledger:
            try:
                yield from batched_run(self._rows(ledger), _ROWS)
            finally:
                self._spent = ledger.account(self.account)

    def report(self) -> dict[str, Any]:
        """Calls, faults, latencies of this run, and what the ledger says of the account; plain JSON."""
        price = self.purse.price
        listed = {"in": price.tokens_in, "out": price.tokens_out, "source": price.source} if price else "unknown"
        return {**self._meter.report(), "ledger": self._spent, "price_per_million": listed}

    async def _rows(self, ledger: Ledger) -> AsyncIterator[ProfileRow]:
        llm = self.config.llm
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                Server(llm.base_url, str(llm.model), llm.timeout_seconds, llm.server)
            )
            lane = Lane(llm.concurrency, llm.deadline_seconds, self.at_once)
            desk: Answering = Desk(server, ledger, lane, self.purse, llm.deadline_seconds, self._meter)
            batches = BatchDesk(server, ledger, self.purse, llm.batch_requests, llm.batch_poll_seconds, self._meter)
            self._check_plan(ledger)
            await batches.resume()  # whatever the mode: an open batch holds requests that nobody else may ask
            if llm.mode == "batch":
                desk = batches
                while await self._gathered(batches):
                    await batches.submit()
            async for row in in_order((self.asked or self.sources)(), self._writer(desk).row, llm.concurrency):
                yield row

    def plan(self) -> Plan:
        """What a run would take. Asks nobody; needs no key."""
        with open_ledger(self.ledger) as ledger:
            return self._plan(ledger)

    def _plan(self, ledger: Ledger) -> Plan:
        return planned(self.side, self.sources(), self.prompts, self.config, self.purse, ledger, self.previous)

    def _check_plan(self, ledger: Ledger) -> None:
        """Stop before the first call if even the least that the run may cost is more than its budget has left."""
        if self.purse.budget is None:
            return
        plan, account = self._plan(ledger), ledger.account(self.account)
        left = self.purse.budget - account["usd"] - account["possibly_billed_usd"]
        if plan.usd_low is not None and plan.usd_low > left:
            raise BudgetReached(
                f"{plan.requests} requests would cost ${plan.usd_low:.4f} to ${plan.usd_high:.4f}, and ${left:.4f} of "
                f"the budget of ${self.purse.budget} are left: nothing was asked; raise budget_usd or ask about less"
            )

    async def _gathered(self, desk: BatchDesk) -> bool:
        """Go over the sources once, gathering what is not in the ledger; whether there was anything."""
        writer = replace(self._writer(desk), extractor=None)
        with desk.gathering():
            for source in self.sources():
                await writer.row(source)
                await asyncio.sleep(0)
                if desk.is_full:
                    break
        return desk.has_gathered

    def _writer(self, desk: Answering) -> ProfileWriter:
        return ProfileWriter(self.prompts, self.config, desk, self.extractor, self.previous)


def prompt_writer(config: ProfileConfig, side: Side) -> PromptWriter:
    """The prompts of one side under resolved settings."""
    counter = TokenCounter.for_model(config.llm.model or "")
    templates = load_templates(config.domain, side, config.prompts_dir)
    return PromptWriter(templates, counter, config.max_words, config.max_prompt_tokens)


def purse_of(llm: LlmConfig, account: str) -> Purse:
    """What may be spent. Raises MissingSetting if there is a budget and no price to measure it with."""
    given = (llm.price_in, llm.price_out)
    price = find_price(llm.model or "", llm.base_url, given, batch=llm.mode == "batch")
    if llm.budget_usd is not None and price is None:
        raise MissingSetting(f"the price of {llm.model} is unknown, so no budget can hold: set price_in and price_out")
    return Purse(account, price, llm.budget_usd)
