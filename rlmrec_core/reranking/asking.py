"""A model's candidates in the order of a language model: the prompt, the job, and what becomes of the answers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.rerank import PLACES, RerankConfig
from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.request import ChatRequest, Message
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.profiling.job import WritingJob
from rlmrec_core.profiling.parser import Profile, object_form, read_answer
from rlmrec_core.profiling.prompts import PromptTooLong, messages_of
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.profiling.templates import read_template
from rlmrec_core.reranking.answers import KEYS, Order, order_of
from rlmrec_core.reranking.questions import Question

_LONGEST_TITLE = 40
"""Tokens of a title; what is longer is hardly a name."""
_WORDS_PER_INDEX = 4
"""About so many words of English take as many tokens as one index with its comma, at half the limit of an answer."""
_TURNS = 2
"""Messages of a first question; a second one quotes the rejected answer and says what was wrong."""


def rerank_prompt(config: RerankConfig) -> dict[str, str]:
    """The template: version and instruction. Raises TemplateError."""
    folder = Path(config.prompts_dir) if config.prompts_dir else files("prompts")
    return read_template(folder / "rerank" / "order.toml", ("version", "instruction"))


def rerank_prompt_digest(config: RerankConfig) -> str:
    """sha256, in hex, of the template. Raises TemplateError."""
    return digest_of(rerank_prompt(config))


@dataclass(frozen=True)
class OrderPrompts:
    """Asks for the best of a user's candidates, and takes any list of integers: how good it is, is measured."""

    version: str
    instruction: str
    counter: TokenCounter
    words: int
    """Limit of the reasoning."""
    max_tokens: int
    max_output_tokens: int
    """The cap of a first question; a second one after an answer that was cut off has more."""

    @property
    def form(self) -> Mapping[str, Any]:
        """What the server is asked to enforce."""
        return object_form("order", KEYS, {KEYS[0]: {"type": "array", "items": {"type": "integer"}}})

    @property
    def max_words(self) -> int:
        """Limit of an answer in words, its indices converted."""
        return self.words + _WORDS_PER_INDEX * PLACES

    def messages(self, source: Question) -> list[Message]:
        """Instruction and titles; the history is shortened until they fit. Raises PromptTooLong."""
        places = str(min(PLACES, len(source.shown)))
        instruction = self.instruction.replace("$places", places).replace("$max_words", str(self.words))
        titles = [title and self.counter.cut(title, _LONGEST_TITLE) for title in source.titles]
        candidates = [{"index": item, "title": title} for item, title in zip(source.shown, titles, strict=True)]
        history = [self.counter.cut(title, _LONGEST_TITLE) for title in source.history]
        while True:
            messages = messages_of(instruction, {"history": history, "candidates": candidates})
            excess = self.counter.count_messages(messages) - self.max_tokens
            if excess <= 0:
                return messages
            if not history:
                raise PromptTooLong(
                    f"{excess} tokens over the limit of {self.max_tokens} without any history: take fewer candidates, "
                    "a model that reads more, or a higher max_prompt_tokens"
                )
            history = history[: len(history) // 2]

    def shortened(self, max_tokens: int) -> "OrderPrompts":
        """The same prompts in at most so many tokens."""
        return replace(self, max_tokens=max_tokens)

    def judge(self, question: ChatRequest, answer: ChatAnswer, quote: Callable[[], str]) -> Profile:
        """`Order.text` and the reasoning; quote: what a second question shows of a rejected one. Raises Unusable."""

        def read(text: str) -> Order:
            return order_of(text, places=PLACES, max_words=self.words)

        order = read_answer(question, answer, read, quote)
        again = len(question.messages) > _TURNS or question.max_output_tokens > self.max_output_tokens
        return Profile(replace(order, again=again).text, order.reasoning)


def rerank_job(
    sources: Callable[[], Iterable[Question]], config: RerankConfig, ledger: Path, account: str
) -> WritingJob[Question]:
    """The job of asking for every order; a row of generator extractive stands where none could be had.

    Args:
        sources: Begins the questions anew each time it is called.
        config: Settings of the stage.
        ledger: SQLite file that keeps paid answers.
        account: The name under which the ledger counts what this costs.

    Raises:
        MissingSetting: If model, key or price is missing.
        TemplateError: The prompt template cannot be used.
    """
    llm = config.resolved().llm
    template = rerank_prompt(config)
    prompts = OrderPrompts(
        f"rerank/order {template['version']}",
        template["instruction"].strip(),
        TokenCounter.for_model(llm.model or ""),
        config.max_words,
        config.max_prompt_tokens,
        llm.max_output_tokens,
    )

    def without(source: Question) -> ProfileRow:
        return ProfileRow(source.id, "extractive", "ok")

    return WritingJob(sources, "order of candidates", prompts, llm, ledger, account, without)
