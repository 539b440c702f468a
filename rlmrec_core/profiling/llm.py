"""Profiles written by a language model: prompts -> requests -> ledger or server -> parser."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlmrec_core.config.text import ProfileConfig
from rlmrec_core.profiling.answers import BrokenAnswer, ChatAnswer
from rlmrec_core.profiling.client import RequestFailed, Server
from rlmrec_core.profiling.judge import Unusable, judge
from rlmrec_core.profiling.ledger import Ledger, open_ledger
from rlmrec_core.profiling.prompts import PromptTooLong, PromptWriter
from rlmrec_core.profiling.requests import ChatRequest
from rlmrec_core.profiling.rows import ProfileRow
from rlmrec_core.profiling.sampling import Side
from rlmrec_core.profiling.sources import Source, source_hash
from rlmrec_core.profiling.templates import load_templates
from rlmrec_core.profiling.tokens import TokenCounter
from rlmrec_core.profiling.workers import work_through

Progress = Callable[[int], None]


def llm_rows(
    sources: Iterable[Source], side: Side, config: ProfileConfig, ledger: Path, done: Progress
) -> tuple[list[ProfileRow], dict[str, int]]:
    """One row per source, in the order of arrival, and counts of what it took.

    Answers in the ledger are used again; a new answer is kept there before it is read.
    Raises MissingSetting before any work if key or model is missing; ServerRefused if the server stops the run.
    """
    config = config.resolved()
    with open_ledger(ledger) as opened:
        return asyncio.run(_write_all(sources, side, config, opened, done))


async def _write_all(
    sources: Iterable[Source], side: Side, config: ProfileConfig, ledger: Ledger, done: Progress
) -> tuple[list[ProfileRow], dict[str, int]]:
    counter = TokenCounter.for_model(config.llm.model or "")
    templates = load_templates(config.domain, side, config.prompts_dir)
    prompts = PromptWriter(templates, counter, config.max_words, config.max_prompt_tokens)
    async with Server(config.llm.base_url, config.llm.timeout_seconds) as server:
        writer = _Writer(prompts, config, _Desk(server, ledger))
        rows: list[ProfileRow] = []

        async def write(source: Source) -> None:
            rows.append(await writer.row(source))
            done(len(rows))

        await work_through(sources, write, config.llm.concurrency)
    return rows, dict(writer.desk.counts)


@dataclass
class _Desk:
    """Answers requests: from the ledger, by waiting for the same request under way, or from the server."""

    server: Server
    ledger: Ledger
    counts: Counter[str] = field(default_factory=Counter)
    under_way: dict[str, asyncio.Task[ChatAnswer]] = field(default_factory=dict)

    async def answer(self, request: ChatRequest) -> ChatAnswer:
        key = request.key
        if (known := self._known(key)) is not None:
            self.counts["cache hits"] += 1
            return known
        if key in self.under_way:
            self.counts["duplicates"] += 1
        else:
            self.under_way[key] = asyncio.create_task(self._ask(request, key))
        return await asyncio.shield(self.under_way[key])

    def _known(self, key: str) -> ChatAnswer | None:
        """The answer in the ledger; a broken one counts for nothing."""
        body = self.ledger.usable_answer(key)
        try:
            return None if body is None else ChatAnswer.read(body.decode(errors="replace"))
        except BrokenAnswer:
            return None

    async def _ask(self, request: ChatRequest, key: str) -> ChatAnswer:
        def note() -> None:
            self.counts["calls"] += 1
            self.ledger.sent(key, request.model)

        def keep(body: bytes) -> ChatAnswer:
            self.ledger.answered(key, body)
            return ChatAnswer.read(body.decode(errors="replace"))

        try:
            return await self.server.chat(request.body, keep, note)
        except RequestFailed as error:
            self.ledger.settled(key, "failed", str(error))
            raise
        finally:
            del self.under_way[key]


@dataclass(frozen=True)
class _Writer:
    """Turns one source into one row."""

    prompts: PromptWriter
    config: ProfileConfig
    desk: _Desk

    async def row(self, source: Source) -> ProfileRow:
        if source.is_empty:
            return ProfileRow(source.id, "llm", "missing", error="no train text to write from")
        row = ProfileRow(source.id, "llm", "failed", attempts=0, source_hash=source_hash(source))
        row = replace(row, model=self.config.llm.model, prompt_version=self.prompts.templates.version)
        try:
            request = ChatRequest.of(self.prompts.messages(source), self.config.llm)
        except PromptTooLong as error:
            return replace(row, error=str(error))
        return await self._converse(replace(row, prompt_hash=request.key), request)

    async def _converse(self, row: ProfileRow, request: ChatRequest) -> ProfileRow:
        """Ask, and ask one thing more where the first answer is cut off or refused by the parser."""
        settle, instead = self.desk.ledger.settled, None
        for _ in range(2):
            try:
                answer = await self.desk.answer(request)
                row = _heard(row, answer, self.desk.ledger.attempts(request.key))
                profile = judge(request, answer, self.config.max_words)
            except RequestFailed as error:
                return replace(row, error=str(error))
            except Unusable as error:
                row, instead = replace(row, error=str(error)), error.instead
            else:
                settle(request.key, "validated")
                text, reasoning = profile.summarization, profile.reasoning
                return replace(row, status="ok", error=None, summarization=text, reasoning=reasoning)
            if instead is None:
                settle(request.key, "refused", row.error)
                return row
            settle(request.key, "rejected", row.error)
            last, request = request, instead
        settle(last.key, "failed", row.error)
        return row


def _heard(row: ProfileRow, answer: ChatAnswer, attempts: int) -> ProfileRow:
    """The row with what an answer says of itself; tokens add up over a conversation."""
    return replace(
        row,
        model=answer.model or row.model,
        finish_reason=answer.finish_reason,
        attempts=(row.attempts or 0) + attempts,
        tokens_in=(row.tokens_in or 0) + (answer.tokens_in or 0),
        tokens_out=(row.tokens_out or 0) + (answer.tokens_out or 0),
    )
