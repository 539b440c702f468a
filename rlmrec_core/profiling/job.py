"""One run of a model server over everything that a text is written about."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from rlmrec_core.config.text import LlmConfig, ProfileConfig
from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.batch import BatchClient
from rlmrec_core.llm.budget import Budget, UsageStats
from rlmrec_core.llm.client import open_client
from rlmrec_core.llm.errors import BudgetReached, NothingUsable
from rlmrec_core.llm.ledger import Ledger, open_ledger
from rlmrec_core.llm.request import Request
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.llm.workers import batched_run, in_order
from rlmrec_core.profiling.plan import Plan, planned
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.prompts import PromptWriter
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.profiling.sources import ProfileSource, Side
from rlmrec_core.profiling.templates import load_templates
from rlmrec_core.profiling.writing import About, Client, Extractor, ProfileWriter, Prompts

_ROWS = 256  # handed on at a time
_FIRST_ANSWERS = 20  # without one of use, after which a run stops


class _Unusable:
    """Stops a run whose first answers, those to second questions included, are all of no use."""

    def __init__(self, account: str, ledger: Ledger, first: int) -> None:
        self._account, self._ledger, self._first, self._bad, self._any_good = account, ledger, first, 0, False

    def check(self, row: ProfileRow) -> None:
        """Note a row. Raises NothingUsable."""
        if self._any_good or row.status == "missing":
            return
        self._any_good = row.status == "ok" and row.generator == "llm"
        self._bad += max(row.attempts or 0, 1)
        if self._bad >= self._first and not self._any_good:
            spent = self._ledger.account(self._account)
            raise NothingUsable(
                f"none of the first {self._bad} answers is of use, so nothing more is asked; the last: {row.error}; "
                f"${spent['usd']:.4f} are spent: try another model, or change llm.max_output_tokens, llm.reasoning "
                "or max_words"
            )


@dataclass
class WritingJob(Generic[About]):
    """Writes a text about every source with a model server, in the order of the sources and in constant memory.

    Attributes:
        sources: Begins the sources anew each time it is called, since batches go over them more than once.
        subject: What they are: item, user or reason.
        prompts: What is asked about each, and what becomes of the answers.
        llm: Resolved settings of the server.
        ledger: SQLite file that keeps paid answers.
        account: The name under which the ledger counts what this costs.
        extractor: Writes what the model would not, if wanted.
        previous: Profiles of an earlier run, to be kept where little changed.
        own_sources: Those of the sources that this process writes about; None: all.
        at_once: How many send requests at the same time, each with its share of the server's limits.
        first_answers: Without one of use among so many, nothing more is asked.

    Raises:
        MissingSetting: If model, key or price is missing.
    """

    sources: Callable[[], Iterable[About]]
    subject: str
    prompts: Prompts[About]
    llm: LlmConfig
    ledger: Path
    account: str
    extractor: Extractor[About] | None = None
    previous: Previous | None = None
    own_sources: Callable[[], Iterable[About]] | None = None
    at_once: int = 1
    first_answers: int = _FIRST_ANSWERS

    def __post_init__(self) -> None:
        self._stats = UsageStats()
        self.budget = Budget.of(self.llm, self.account)

    def rows(self) -> Iterator[list[ProfileRow]]:
        """All rows, by id. Raises RunStopped, with everything that was paid for in the ledger."""
        yield from batched_run(self._rows(), _ROWS)

    def report(self) -> dict[str, Any]:
        """Calls, faults, latencies of this run, and what the ledger says of the account; plain JSON."""
        return self._stats.report()

    async def _rows(self) -> AsyncIterator[ProfileRow]:
        llm = self.llm
        door = open_client(llm, ledger=self.ledger, account=self.account, at_once=self.at_once, stats=self._stats)
        async with door as client:
            self._check_plan(client.ledger)
            batches = BatchClient(client, llm)
            await batches.resume()  # in either mode: an open batch holds requests that nobody else may send
            writer = ProfileWriter(self.prompts, llm, client.ledger, self.extractor, self.previous)
            answering: Client = client
            if llm.mode == "batch":
                answering = batches
                while await batches.collect(self._unanswered(writer, batches)):
                    await batches.submit()

            unusable = _Unusable(self.account, client.ledger, self.first_answers)

            async def write(source: About) -> ProfileRow:
                row = await writer.row(source, answering)
                unusable.check(row)
                return row

            async for row in in_order((self.own_sources or self.sources)(), write, llm.concurrency):
                yield row

    def _unanswered(self, writer: ProfileWriter[About], batches: BatchClient) -> Iterator[Request]:
        """The next request about every source whose row cannot be written yet."""

        def known(request: Request) -> ChatAnswer | None:
            return batches.known(request, ChatAnswer.read)

        for source in self.sources():
            if (request := writer.next_request(source, known)) is not None:
                yield request

    def plan(self) -> Plan:
        """What a run would take. Sends nothing; needs no key."""
        with open_ledger(self.ledger) as ledger:
            return self._plan(ledger)

    def _plan(self, ledger: Ledger) -> Plan:
        return planned(self.subject, self.sources(), self.prompts, self.llm, self.budget, ledger, self.previous)

    def _check_plan(self, ledger: Ledger) -> None:
        """Stop before the first request if what the run will likely cost is more than its budget has left."""
        if self.budget.usd is None:
            return
        plan, account = self._plan(ledger), ledger.account(self.account)
        left = self.budget.usd - account["usd"] - account["possibly_billed_usd"]
        if plan.usd_likely is not None and plan.usd_likely > left:
            raise BudgetReached(
                f"{plan.requests} requests would likely cost ${plan.usd_likely:.4f}, at most "
                f"${plan.usd_high:.4f}, and ${left:.4f} of "
                f"the budget of ${self.budget.usd} are left: nothing was asked; raise budget_usd or ask about less"
            )


class ProfileJob(WritingJob[ProfileSource]):
    """Writes the profiles of one side."""

    def __init__(
        self,
        sources: Callable[[], Iterable[ProfileSource]],
        side: Side,
        config: ProfileConfig,
        ledger: Path,
        account: str,
        extractor: Extractor[ProfileSource] | None = None,
        previous: Previous | None = None,
        own_sources: Callable[[], Iterable[ProfileSource]] | None = None,
        at_once: int = 1,
    ) -> None:
        """side: items or users; config: settings of the stage; the rest as in `WritingJob`, whose errors it raises."""
        config = config.resolved()
        counter = TokenCounter.for_model(config.llm.model or "")
        templates = load_templates(config.domain, side, config.prompts_dir)
        prompts = PromptWriter(templates, counter, config.max_words, config.max_prompt_tokens)
        super().__init__(
            sources, side, prompts, config.llm, ledger, account, extractor, previous, own_sources, at_once
        )  # fmt: skip
