"""The same reasons in the words of a language model, which may name nothing but the evidence."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.reasons import ReasonsConfig
from rlmrec_core.explain.grounding import Catalogue, without_names
from rlmrec_core.explain.sentences import short
from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.request import ChatRequest, Message
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.profiling.job import WritingJob
from rlmrec_core.profiling.parser import (
    Profile,
    RejectedAnswer,
    check_recital,
    object_form,
    parse_object,
    read_answer,
)
from rlmrec_core.profiling.prompts import PromptTooLong, messages_of
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.profiling.sentences import split_sentences
from rlmrec_core.profiling.templates import read_template

OUTSIDE = "it names"
"""How the complaint about a sentence begins that names what its evidence does not hold."""

_KEY, _MOST_TOKENS = "sentence", 2_000
_FIRST_ANSWERS = 200
"""Without one of use among so many answers the model is not asked any more."""
_NEVER = re.compile(r"[<>\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069]|https?:|www\.", re.IGNORECASE)
_MARKUP = re.compile(r"[*_`#|\\{}\[\]]")


@dataclass(frozen=True)
class Reason:
    """What a sentence is written from: one place of a list.

    id: its row; item: the listed item's name; chosen_alike, described_alike: those of the user's own items that are
    nearest by behaviour and by text; words: what both profiles share; plain: the extractive sentence.
    """

    id: int
    item: str
    chosen_alike: str | None
    described_alike: str | None
    words: tuple[str, ...]
    plain: str

    @property
    def is_empty(self) -> bool:
        """Whether there is no evidence to speak of."""
        return not (self.chosen_alike or self.described_alike or self.words)

    @property
    def pairs(self) -> tuple[int, ...]:
        """None: no later stage reads a reason."""
        return ()

    @property
    def parts(self) -> list[Any]:
        """The evidence as a whole."""
        return [self.evidence()]

    def evidence(self) -> dict[str, Any]:
        """What the model is given, with its names cut short."""
        names = {"item": self.item, "chosen_alike": self.chosen_alike, "described_alike": self.described_alike}
        given: dict[str, Any] = {key: short(name) for key, name in names.items() if name}
        return given | ({"shared_words": list(self.words)} if self.words else {})


def reasons_prompt(config: ReasonsConfig) -> dict[str, str]:
    """The template: version and instruction. Raises TemplateError."""
    folder = Path(config.prompts_dir) if config.prompts_dir else files("prompts")
    return read_template(folder / "reasons" / f"{_KEY}.toml", ("version", "instruction"))


def reasons_prompt_digest(config: ReasonsConfig) -> str:
    """sha256, in hex, of the template. Raises TemplateError."""
    return digest_of(reasons_prompt(config))


@dataclass(frozen=True)
class SentencePrompts:
    """Asks for a sentence about a reason, and takes it only if it names nothing but the evidence."""

    version: str
    instruction: str
    catalogue: Catalogue
    counter: TokenCounter
    max_words: int
    max_tokens: int = _MOST_TOKENS

    @property
    def form(self) -> Mapping[str, Any]:
        """What the server is asked to enforce."""
        return object_form("reason", [_KEY])

    def messages(self, source: Reason) -> list[Message]:
        """Instruction and evidence. Raises PromptTooLong."""
        messages = messages_of(self.instruction, source.evidence())
        if (tokens := self.counter.count_messages(messages)) > self.max_tokens:
            raise PromptTooLong(f"{tokens} tokens, at most {self.max_tokens} are allowed: shorten the template")
        return messages

    def shortened(self, max_tokens: int) -> "SentencePrompts":
        """The same prompts in at most so many tokens."""
        return replace(self, max_tokens=max_tokens)

    def judge(self, question: ChatRequest, answer: ChatAnswer, quote: Callable[[], str]) -> Profile:
        """The sentence in an answer; quote: what a second question shows of a rejected one. Raises Unusable."""
        given = json.loads(question.messages[1]["content"])
        evidence = [*given.pop("shared_words", ()), *given.values()]

        def read(text: str) -> Profile:
            (sentence,) = parse_object(text, {_KEY: self.max_words})
            check_recital([sentence], self.instruction)
            check_sentence(sentence, evidence, self.catalogue)
            return Profile(sentence, "")

        return read_answer(question, answer, read, quote)


def check_sentence(sentence: str, evidence: list[str], catalogue: Catalogue) -> None:
    """Raise RejectedAnswer unless this is one plain sentence that names nothing but its evidence."""
    bare = without_names(sentence, evidence)
    if _NEVER.search(sentence) or _MARKUP.search(bare):
        raise RejectedAnswer("it holds markup, a link or signs that are no text")
    if (number := len(split_sentences(bare))) > 1:
        raise RejectedAnswer(f"it has {number} sentences, one is asked for")
    if (name := catalogue.outside(sentence, evidence)) is not None:
        raise RejectedAnswer(f"{OUTSIDE} {name[:80]!r}, which the input does not name")


def reasons_job(
    sources: Callable[[], Iterable[Reason]],
    names: Iterable[str],
    config: ReasonsConfig,
    ledger: Path,
    account: str,
) -> WritingJob[Reason]:
    """The job of writing sentences with a model server; whatever it does not write stays the extractive one.

    Args:
        sources: Begins the reasons anew each time it is called.
        names: What people call each item of the catalogue.
        config: Settings of the stage.
        ledger: SQLite file that keeps paid answers.
        account: The name under which the ledger counts what this costs.

    Raises:
        MissingSetting: If model, key or price is missing.
        TemplateError: The prompt template cannot be used.
    """
    llm = config.resolved().llm
    template = reasons_prompt(config)
    instruction = template["instruction"].strip().replace("$max_words", str(config.max_words))
    prompts = SentencePrompts(
        f"reasons/{_KEY} {template['version']}",
        instruction,
        Catalogue(names),
        TokenCounter.for_model(llm.model or ""),
        config.max_words,
    )

    def plain(source: Reason) -> ProfileRow:
        return ProfileRow(source.id, "extractive", "ok", source.plain)

    return WritingJob(sources, "reason", prompts, llm, ledger, account, plain, first_answers=_FIRST_ANSWERS)
