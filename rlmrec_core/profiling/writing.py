"""Profiles written by a language model: prompts -> requests -> desk -> parser."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from rlmrec_core.config.text import ProfileConfig
from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.calls import Call
from rlmrec_core.llm.errors import ContextTooLong, RequestFailed
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.profiling.judge import Unusable, judge
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.prompts import PromptTooLong, PromptWriter
from rlmrec_core.profiling.requests import ChatRequest
from rlmrec_core.profiling.rows import ProfileRow
from rlmrec_core.profiling.sources import Source, source_hash, source_parts

Answer = TypeVar("Answer")
Extractor = Callable[[Source], ProfileRow]


class Answering(Protocol):
    """Whoever answers calls: a desk that sends them one by one, or one that gathers them for a batch."""

    @property
    def ledger(self) -> Ledger: ...

    def answer(self, call: Call, read: Callable[[bytes], Answer]) -> Awaitable[Answer]: ...


@dataclass(frozen=True)
class ProfileWriter:
    """Turns one source into one row."""

    prompts: PromptWriter
    config: ProfileConfig
    desk: Answering
    extractor: Extractor | None = None
    """Writes what could not be had from the model; None leaves such a row without a profile."""
    previous: Previous | None = None

    async def row(self, source: Source) -> ProfileRow:
        """The profile, or the reason why there is none. Raises RunStopped."""
        if source.is_empty:
            return ProfileRow(source.id, "llm", "missing", error="no train text to write from")
        parts = source_parts(source)
        if self.previous and (kept := self.previous.kept(source.id, parts)):
            return kept
        row = ProfileRow(source.id, "llm", "failed", attempts=0, source_hash=source_hash(source), source_parts=parts)
        row = replace(row, model=self.config.llm.model, prompt_version=self.prompts.templates.version)
        try:
            row = await self._written(row, source)
        except PromptTooLong as error:
            row = replace(row, error=str(error))
        return row if row.status == "ok" or self.extractor is None else _extracted(row, self.extractor(source))

    async def _written(self, row: ProfileRow, source: Source) -> ProfileRow:
        """Ask with the whole prompt, and once with a shorter one if that is more than the model reads."""
        request = ChatRequest.of(self.prompts.messages(source), self.config.llm)
        try:
            return await self._converse(row, request)
        except ContextTooLong:
            shorter = replace(self.prompts, max_tokens=self.prompts.counter.count_messages([*request.messages]) // 2)
        request = ChatRequest.of(shorter.messages(source), self.config.llm)
        try:
            return await self._converse(row, request)
        except ContextTooLong as error:
            return replace(row, error=f"too long for the model even at half its length: {error}")

    async def _converse(self, row: ProfileRow, request: ChatRequest) -> ProfileRow:
        """Ask, and ask one thing more where the first answer is cut off or refused by the parser."""
        call = request.call(self.prompts.counter)
        row = replace(row, prompt_hash=call.key)
        row, instead = await self._ask(row, request, call, "rejected")
        if instead is None:
            return row
        row, instead = await self._ask(row, instead, instead.call(self.prompts.counter), "failed")
        return row

    async def _ask(
        self, row: ProfileRow, request: ChatRequest, call: Call, unusable: Literal["rejected", "failed"]
    ) -> tuple[ProfileRow, ChatRequest | None]:
        """The row after one answer, and what is worth asking next; None if that was the end of it."""
        try:
            answer = await self.desk.answer(call, ChatAnswer.read)
            row = _heard(row, answer, *self.desk.ledger.spent_on(call.key))
            profile = judge(request, answer, self.config.max_words)
        except ContextTooLong:
            raise
        except RequestFailed as error:
            return replace(row, error=str(error)), None
        except Unusable as error:
            declined = error.instead is None
            self.desk.ledger.concluded(call.key, "declined" if declined else unusable, str(error))
            return replace(row, error=str(error), status="declined" if declined else "failed"), error.instead
        self.desk.ledger.concluded(call.key, "validated")
        text, reasoning = profile.summarization, profile.reasoning
        return replace(row, status="ok", error=None, summarization=text, reasoning=reasoning), None


def _extracted(row: ProfileRow, instead: ProfileRow) -> ProfileRow:
    """The extractive profile, labelled as such, with the reason why it stands in for the model's."""
    if instead.status != "ok":
        return row
    return replace(
        row,
        generator="extractive",
        status="ok",
        worth_retrying=row.worth_retrying or row.status == "failed",
        summarization=instead.summarization,
        reasoning=instead.reasoning,
        error=f"not written by the model: {row.error}",
    )


def _heard(row: ProfileRow, answer: ChatAnswer, attempts: int, dollars: float | None) -> ProfileRow:
    """The row with what an answer says of itself; tokens and dollars add up over a conversation."""
    return replace(
        row,
        model=answer.model or row.model,
        finish_reason=answer.finish_reason,
        attempts=(row.attempts or 0) + attempts,
        tokens_in=(row.tokens_in or 0) + (answer.usage.tokens_in or 0),
        tokens_out=(row.tokens_out or 0) + (answer.usage.tokens_out or 0),
        cost_usd=None if dollars is None else (row.cost_usd or 0.0) + dollars,
    )
