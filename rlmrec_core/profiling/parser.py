"""From a model's answer to a profile, another question or the end: repaired where its form is off, then validated."""

import json
import re
from dataclasses import dataclass
from typing import Any

from json_repair import repair_json

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.request import ChatRequest

_KEYS = ("summarization", "reasoning")
_EMPTY = re.compile(r"(none|null|n/?a|unknown|no answer)?[.\s]*", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_SEAM = re.compile(r"}[\s,]*{")
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


# What the server is asked to enforce, where it can.
PROFILE_FORMAT: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "profile",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {key: {"type": "string"} for key in _KEYS},
            "required": list(_KEYS),
            "additionalProperties": False,
        },
    },
}


def judge(request: ChatRequest, answer: ChatAnswer, max_words: int) -> Profile:
    """The profile in an answer. An answer that was cut off is never repaired. Raises Unusable."""
    if answer.refusal or answer.finish_reason == "content_filter":
        raise Unusable(f"the model declined: {(answer.refusal or 'content filter')[:200]}")
    if answer.finish_reason == "length":
        raise Unusable(f"cut off at {request.max_output_tokens} tokens", request.with_longer_answer())
    try:
        profile = parse_profile(answer.text, max_words=max_words)
        _check_recital(profile, request.messages[0]["content"])
    except RejectedAnswer as error:
        raise Unusable(str(error), request.corrected(answer.text, str(error))) from error
    return profile


def _check_recital(profile: Profile, instructions: str) -> None:
    """Raise RejectedAnswer where a profile recites the instructions: it echoes the prompt, or a review asked for it."""
    told = f" {' '.join(instructions.lower().split())} "
    for text in (profile.summarization, profile.reasoning):
        words = text.lower().split()
        runs = (words[place : place + _RECITED] for place in range(len(words) - _RECITED + 1))
        if any(f" {' '.join(run)} " in told for run in runs):
            raise RejectedAnswer("it repeats the instructions instead of following them")


def parse_profile(text: str, *, max_words: int) -> Profile:
    """The profile in `text`, which may wrap it in prose, fences or thoughts, or hold slips such as a trailing comma.

    Raises RejectedAnswer on anything but exactly one object with two non-empty strings within the word limit.
    """
    answer = _only_object(_THOUGHT.sub("", text))
    if missing := [key for key in _KEYS if key not in answer]:
        raise RejectedAnswer(f"the key {' and '.join(missing)} is missing")
    if unknown := sorted(set(answer) - set(_KEYS)):
        raise RejectedAnswer(f"the key {unknown[0][:40]!r} was not asked for")
    summarization, reasoning = (_prose(key, answer[key]) for key in _KEYS)
    if (words := len(summarization.split())) > max_words:
        raise RejectedAnswer(f"summarization has {words} words, at most {max_words} are allowed")
    return Profile(summarization, reasoning)


def _prose(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RejectedAnswer(f"{key} must be a string")
    prose = " ".join(value.split())
    if _EMPTY.fullmatch(prose):
        raise RejectedAnswer(f"{key} says nothing")
    return prose


def _only_object(text: str) -> dict[str, Any]:
    """The one JSON object in `text`; it is repaired only if it is not well-formed."""
    bare = _FENCE.sub("", text).strip()
    found = [] if bare.startswith("[") else _well_formed(bare)
    if len(found) > 1 or (not found and _SEAM.search(bare)):
        raise RejectedAnswer("the answer holds more than one JSON object")
    answer = found[0] if found else repair_json(bare, return_objects=True)
    if not isinstance(answer, dict) or not answer:
        raise RejectedAnswer("the answer is not one JSON object")
    return answer


def _well_formed(text: str) -> list[Any]:
    """The outermost JSON objects in `text`; none if any is broken, lest what is inside it pass for the answer."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while (start := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            return []
        found.append(value)
    return found
