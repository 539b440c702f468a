"""Texts written by a language model: prompts -> requests -> client -> judge."""

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

from rlmrec_core.config.text import LlmConfig
from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.errors import ContextTooLong, RequestDeclined, RequestFailed
from rlmrec_core.llm.ledger import Ledger
from rlmrec_core.llm.request import ChatRequest, Message, Request
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.profiling.parser import Profile, Unusable
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.prompts import PromptTooLong
from rlmrec_core.profiling.result import ProfileRow, Status
from rlmrec_core.profiling.sources import Source, source_hash, source_parts

_CORRECTION = 64  # tokens of what is said about a rejected answer
_SHORTEST_QUOTE = 16
_LONGEST_TOKEN = 128  # characters; what is cut off anyway need not be counted, be it megabytes

Answer = TypeVar("Answer")
About = TypeVar("About", bound=Source)
_About = TypeVar("_About", bound=Source, contravariant=True)
Extractor = Callable[[About], ProfileRow]
Conversation = Generator[Request, ChatAnswer, ProfileRow]
"""Yields each request, is sent its answer or thrown a RequestFailed, and returns the row. Does no I/O of its own."""


class Client(Protocol):
    """Whoever answers requests: an `LlmClient` one by one, a `BatchClient` from what its batches brought."""

    def answer(self, request: Request, read: Callable[[bytes], Answer]) -> Awaitable[Answer]: ...


class Prompts(Protocol[_About]):
    """What is asked about a source, and what becomes of the answer."""

    @property
    def version(self) -> str:
        """Which templates they are."""

    @property
    def counter(self) -> TokenCounter:
        """Counts tokens as the model does."""

    @property
    def form(self) -> Mapping[str, Any]:
        """What the server is asked to enforce, as OpenAI takes it (`json_schema`)."""

    @property
    def max_words(self) -> int:
        """Limit of the text, in words."""

    @property
    def max_tokens(self) -> int:
        """Limit of one prompt, in tokens."""

    def messages(self, source: _About) -> list[Message]:
        """The prompt. Raises PromptTooLong."""

    def shortened(self, max_tokens: int) -> "Prompts[_About]":
        """The same prompts in at most so many tokens."""

    def judge(self, question: ChatRequest, answer: ChatAnswer, quote: Callable[[], str]) -> Profile:
        """The text in an answer; quote: what a second question shows of a rejected one. Raises Unusable."""


@dataclass(frozen=True)
class ProfileWriter(Generic[About]):
    """Turns one source into one row."""

    prompts: Prompts[About]
    llm: LlmConfig
    ledger: Ledger
    extractor: Extractor[About] | None = None
    """Writes what could not be had from the model; None leaves such a row without a profile."""
    previous: Previous | None = None

    async def row(self, source: About, client: Client) -> ProfileRow:
        """The profile, or the reason why there is none. Raises RunStopped."""
        conversation = self._conversation(source)
        try:
            request = next(conversation)
            while True:
                try:
                    answer = await client.answer(request, ChatAnswer.read)
                except RequestFailed as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(answer)
        except StopIteration as end:
            row: ProfileRow = end.value
        if row.status in ("ok", "missing") or self.extractor is None:
            return row
        return _extracted(row, self.extractor(source))

    def next_request(self, source: About, known: Callable[[Request], ChatAnswer | None]) -> Request | None:
        """The first request about a source to which no answer is known; None where its row can be written."""
        conversation = self._conversation(source)
        with suppress(StopIteration):
            request = next(conversation)
            while True:
                try:
                    answer = known(request)
                except RequestFailed as error:
                    request = conversation.throw(error)
                    continue
                if answer is None:
                    return request
                request = conversation.send(answer)
        return None

    def _conversation(self, source: About) -> Conversation:
        """All that is said about one source."""
        if source.is_empty:
            return ProfileRow(source.id, "llm", "missing", error="no train text to write from")
        parts = source_parts(source)
        if self.previous and (kept := self.previous.kept(source.id, parts)):
            return kept
        row = ProfileRow(source.id, "llm", "failed", attempts=0, source_hash=source_hash(source), source_parts=parts)
        row = replace(row, source_pairs=source.pairs, model=self.llm.model, prompt_version=self.prompts.version)
        try:
            return (yield from self._prompted(row, source))
        except PromptTooLong as error:
            return replace(row, error=str(error))

    def _prompted(self, row: ProfileRow, source: About) -> Conversation:
        """Ask with the whole prompt, and once with a shorter one if that is more than the model reads."""
        request = self._question(self.prompts, source)
        try:
            return (yield from self._corrected(row, request))
        except ContextTooLong:
            shorter = self.prompts.shortened(self.prompts.counter.count_messages([*request.messages]) // 2)
        try:
            return (yield from self._corrected(row, self._question(shorter, source)))
        except ContextTooLong as error:
            return replace(row, error=f"too long for the model even at half its length: {error}")

    def _question(self, prompts: Prompts[About], source: About) -> ChatRequest:
        return ChatRequest.of(prompts.messages(source), prompts.form, self.llm)

    def _corrected(self, row: ProfileRow, question: ChatRequest) -> Conversation:
        """Ask, and ask one thing more where the first answer is cut off or refused by the parser."""
        row = replace(row, prompt_hash=question.request(self.prompts.counter).key)
        row, instead = yield from self._asked(row, question, "rejected")
        if instead is not None:
            row, _ = yield from self._asked(row, instead, "failed")
        return row

    def _quote(self, question: ChatRequest, answer: ChatAnswer) -> str:
        """As much of a rejected answer as a second question may quote within the limits of answer and prompt."""
        room = self.prompts.max_tokens - self.prompts.counter.count_messages([*question.messages]) - _CORRECTION
        limit = max(min(room, question.max_output_tokens), _SHORTEST_QUOTE)
        return self.prompts.counter.cut(answer.text[: limit * _LONGEST_TOKEN], limit)

    def _asked(
        self, row: ProfileRow, question: ChatRequest, unusable: Literal["rejected", "failed"]
    ) -> Generator[Request, ChatAnswer, tuple[ProfileRow, ChatRequest | None]]:
        """The row after one answer, and what is worth asking next; None if that was the end of it."""
        request = question.request(self.prompts.counter)
        try:
            answer = yield request
            row = _accounted(row, answer, *self.ledger.spent_on(request.key))
            profile = self.prompts.judge(question, answer, partial(self._quote, question, answer))
        except ContextTooLong:
            raise
        except RequestFailed as error:
            status: Status = "declined" if isinstance(error, RequestDeclined) else "failed"
            return replace(row, error=str(error), status=status, rejected=False), None
        except Unusable as error:
            declined = error.instead is None
            self.ledger.concluded(request.key, "declined" if declined else unusable, str(error))
            return replace(
                row, error=str(error), status="declined" if declined else "failed", rejected=True
            ), error.instead
        self.ledger.concluded(request.key, "validated")
        text, reasoning = profile.summarization, profile.reasoning
        return replace(row, status="ok", error=None, summarization=text, reasoning=reasoning, rejected=False), None


def _extracted(row: ProfileRow, instead: ProfileRow) -> ProfileRow:
    """The extractive profile, labelled as such, with the reason why it stands in for the model's."""
    if instead.status != "ok":
        return row
    return replace(
        row,
        generator="extractive",
        source_pairs=instead.source_pairs,
        status="ok",
        worth_retrying=row.worth_retrying or row.status == "failed",
        summarization=instead.summarization,
        reasoning=instead.reasoning,
        error=f"not written by the model: {row.error}",
    )


def _accounted(row: ProfileRow, answer: ChatAnswer, attempts: int, dollars: float | None) -> ProfileRow:
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
