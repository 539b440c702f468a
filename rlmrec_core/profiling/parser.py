"""From a model's answer to a text, another question or the end: repaired where its form is off, then validated."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from json_repair import repair_json

from rlmrec_core.llm.answers import ChatAnswer, clean
from rlmrec_core.llm.request import ChatRequest

Text = TypeVar("Text")

_KEYS = ("summarization", "reasoning")
_EMPTY = re.compile(r"(none|null|n/?a|unknown|no answer)?[.\s]*", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_PROSE_BRACES = re.compile(r"\{[^{}\":]*\}")  # as in "I fill in {summarization, reasoning}"
_SEAM = re.compile(r"}[\s,]*{")
_THOUGHT_END = "</think>"
_CHARACTERS = 10  # per word allowed, also in languages that put no spaces between words
_LONGER = 3  # times as long may the reasoning be
_MOST_REPAIRED, _MOST_BRACKETS = 50_000, 40  # beyond which a repair takes seconds or more, and would be a guess
_COPIED = 120  # characters in a row that are a copy of the input, spaces not counted
_RECITED = 12  # words in a row that nobody shares with the instructions by chance
_THOUGHT = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL | re.IGNORECASE)


class RejectedAnswer(ValueError):
    """An answer that is no profile; the message says why, in words that may be sent back to the model."""


class Unusable(Exception):
    """An answer without a profile; `instead` is the request worth asking next, None where the model declined."""

    def __init__(self, reason: str, instead: ChatRequest | None = None) -> None:
        super().__init__(reason)
        self.instead = instead


@dataclass(frozen=True)
class Profile:
    """What a model was asked for."""

    summarization: str
    reasoning: str


def object_form(name: str, keys: Sequence[str], kinds: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """What the server is asked to enforce, where it can: one object with these keys.

    kinds: JSON schemas of what is no string.
    """
    schema = {
        "type": "object",
        "properties": {key: kinds.get(key, {"type": "string"}) for key in keys},
        "required": list(keys),
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


PROFILE_FORMAT = object_form("profile", _KEYS)


def judge(request: ChatRequest, answer: ChatAnswer, max_words: int, quote: Callable[[], str]) -> Profile:
    """The profile in an answer. Arguments and errors as in `read_answer`."""

    def read(text: str) -> Profile:
        profile = parse_profile(text, max_words=max_words)
        check_recital([profile.summarization, profile.reasoning], request.messages[0]["content"])
        _check_copy(profile, request.messages[1]["content"])
        return profile

    return read_answer(request, answer, read, quote)


def read_answer(
    request: ChatRequest, answer: ChatAnswer, read: Callable[[str], Text], quote: Callable[[], str]
) -> Text:
    """What `read` finds in an answer. An answer that was cut off is never repaired.

    read: raises RejectedAnswer on what is of no use. quote: what a second question shows of an answer that was
    rejected. Raises Unusable.
    """
    if answer.refusal or answer.finish_reason == "content_filter":
        raise Unusable(f"the model declined: {(answer.refusal or 'content filter')[:200]}")
    if answer.finish_reason == "length":
        whose = "by the model's own thoughts: set llm.reasoning = on, or raise llm.max_output_tokens"
        reason = f"cut off at {request.max_output_tokens} tokens{', ' + whose if answer.lacks_room else ''}"
        raise Unusable(reason, request.with_longer_answer())
    try:
        return read(answer.text)
    except RejectedAnswer as error:
        raise Unusable(str(error), request.corrected(quote(), str(error))) from error


def check_recital(texts: Sequence[str], instructions: str) -> None:
    """Raise RejectedAnswer where a text recites the instructions: it echoes the prompt, or a review asked for it."""
    told = f" {' '.join(instructions.lower().split())} "
    for text in texts:
        words = text.lower().split()
        runs = (words[place : place + _RECITED] for place in range(len(words) - _RECITED + 1))
        if any(f" {' '.join(run)} " in told for run in runs):
            raise RejectedAnswer("it repeats the instructions instead of following them")


def _check_copy(profile: Profile, told: str) -> None:
    """Raise RejectedAnswer where a profile copies a long stretch of its input, such as a review."""
    source, half = _dense(told), _COPIED // 2
    for text in (_dense(profile.summarization), _dense(profile.reasoning)):
        # Quick to see first: such a stretch holds one whole piece that begins at a multiple of half its length.
        if _shared(text, source, half, step=half) and _shared(text, source, _COPIED, step=1):
            raise RejectedAnswer("it copies its input word for word instead of summing it up")


def _shared(text: str, source: str, length: int, step: int) -> bool:
    """Whether a piece of `text` of this length, beginning at a multiple of `step`, stands in `source`."""
    return any(text[start : start + length] in source for start in range(0, len(text) - length + 1, step))


def _dense(text: str) -> str:
    return "".join(text.lower().split())


def parse_profile(text: str, *, max_words: int) -> Profile:
    """The profile in `text`, which may wrap it in prose, fences or thoughts, or hold slips such as a trailing comma.

    Raises RejectedAnswer on anything but exactly one object with two non-empty strings within the word limit.
    """
    return Profile(*parse_object(text, dict(zip(_KEYS, (max_words, _LONGER * max_words), strict=True))))


def parse_object(text: str, most_words: Mapping[str, int]) -> list[str]:
    """The strings of the one object in `text`, which may be wrapped as in `parse_profile`, in the order of its keys.

    most_words: the keys that it must have, and no other, with the limit of each text. Raises RejectedAnswer.
    """
    answer = answer_object(text)
    if missing := [key for key in most_words if key not in answer]:
        raise RejectedAnswer(f"the key {' and '.join(missing)} is missing")
    if unknown := sorted(set(answer) - set(most_words)):
        raise RejectedAnswer(f"the key {unknown[0][:40]!r} was not asked for")
    found = {key: _prose(key, answer[key]) for key in most_words}
    for key, prose in found.items():
        most = most_words[key]
        if (words := len(prose.split())) > most:
            raise RejectedAnswer(f"{key} has {words} words, at most {most} are allowed")
        if len(prose) > most * _CHARACTERS:
            raise RejectedAnswer(f"{key} has {len(prose)} characters, at most {most * _CHARACTERS} are allowed")
    return list(found.values())


def answer_object(text: str) -> dict[str, Any]:
    """The one object in `text`, which may be wrapped as in `parse_profile`. Raises RejectedAnswer."""
    bare = _THOUGHT.sub("", text)
    return _only_object(bare[bare.rfind(_THOUGHT_END) + len(_THOUGHT_END) :] if _THOUGHT_END in bare else bare)


def _prose(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RejectedAnswer(f"{key} must be a string")
    # Text within the answer's text: halves of surrogate pairs may be escaped there once more.
    prose = " ".join(clean(value).split())
    if _EMPTY.fullmatch(prose):
        raise RejectedAnswer(f"{key} says nothing")
    return prose


def _only_object(text: str) -> dict[str, Any]:
    """The one JSON object in `text`; it is repaired only if it is not well-formed."""
    bare = _FENCE.sub("", text).strip()
    found = [] if bare.startswith("[") else _well_formed(bare)
    if len(found) > 1 or (not found and _SEAM.search(bare)):
        raise RejectedAnswer("the answer holds more than one JSON object")
    answer = found[0] if found else _repaired(bare)
    if not isinstance(answer, dict) or not answer:
        raise RejectedAnswer("the answer is not one JSON object")
    return answer


def _repaired(text: str) -> Any:
    """What a text was meant to be in JSON; None where that is hopeless."""
    if len(text) > _MOST_REPAIRED or text.count("{") + text.count("[") > _MOST_BRACKETS:
        return None
    try:
        return repair_json(text, return_objects=True)
    except (RecursionError, ValueError):
        return None


def _well_formed(text: str) -> list[Any]:
    """The outermost JSON objects in `text`; braces in prose before them, which open and close, are passed over.

    None if an object is broken and not closed before the next begins, lest what is inside it pass for the answer.
    """
    decoder, found, place = json.JSONDecoder(), [], 0
    while (start := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            prose = _PROSE_BRACES.match(text, start)
            if prose is None:
                return []
            place = prose.end()
        else:
            found.append(value)
    return found
