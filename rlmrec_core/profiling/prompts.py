"""From sources to chat messages within a token limit (RLMRec, section 3.2, eq. 13 and 14).

Text from data sets reaches a prompt in one way only: as a JSON string in the second message.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rlmrec_core.llm.answers import ChatAnswer
from rlmrec_core.llm.request import ChatRequest, Message
from rlmrec_core.llm.tokens import TokenCounter
from rlmrec_core.profiling.parser import PROFILE_FORMAT, Profile, judge
from rlmrec_core.profiling.sources import ItemSource, ProfileSource, UserSource
from rlmrec_core.profiling.templates import Templates

_REVIEWS = frozenset({"review", "reviews"})
_SHORTEST = 8  # tokens: a text cut further would say nothing


class PromptTooLong(ValueError):
    """A prompt that no trimming brings under its limit."""


@dataclass(frozen=True)
class PromptWriter:
    """Writes the messages of one side of one domain."""

    templates: Templates
    counter: TokenCounter
    max_words: int
    max_tokens: int

    @property
    def version(self) -> str:
        """Which templates they are."""
        return self.templates.version

    @property
    def form(self) -> Mapping[str, Any]:
        """What the server is asked to enforce."""
        return PROFILE_FORMAT

    def shortened(self, max_tokens: int) -> "PromptWriter":
        """The same prompts in at most so many tokens."""
        return replace(self, max_tokens=max_tokens)

    def judge(self, question: ChatRequest, answer: ChatAnswer, quote: Callable[[], str]) -> Profile:
        """The profile in an answer; quote: what a second question shows of a rejected one. Raises Unusable."""
        return judge(question, answer, self.max_words, quote)

    def messages(self, source: ProfileSource) -> list[Message]:
        """System instruction and JSON input, in at most `max_tokens` tokens.

        The longest review is trimmed first; where reviews cannot give enough, the longest of all texts.
        Raises PromptTooLong.
        """
        part, payload = _item_input(source) if isinstance(source, ItemSource) else _user_input(source)
        instruction = self.templates.instruction(part, self.max_words)
        for texts in (list(_texts(payload, _REVIEWS)), list(_texts(payload, None))):
            self._trim(instruction, payload, texts)
        if (excess := self._excess(instruction, payload)) > 0:
            raise PromptTooLong(f"{excess} tokens over the limit of {self.max_tokens}: raise max_prompt_tokens")
        return messages_of(instruction, payload)

    def _excess(self, instruction: str, payload: Any) -> int:
        return self.counter.count_messages(messages_of(instruction, payload)) - self.max_tokens

    def _trim(self, instruction: str, payload: Any, texts: list[tuple[Any, Any, str]]) -> None:
        """Cut the longest texts, in place, to one common length that falls until the prompt fits."""
        lengths = [self.counter.count(text) for _, _, text in texts]
        room = sum(lengths)
        while (excess := self._excess(instruction, payload)) > 0 and room > 0:
            room -= excess
            limit = max(_common_limit(lengths, room), _SHORTEST)
            for holder, place, text in texts:
                holder[place] = self.counter.cut(text, limit)
            if limit == _SHORTEST:
                return


def messages_of(instruction: str, payload: Any) -> list[Message]:
    """An instruction, and what strangers wrote, as data in a message of its own."""
    data = json.dumps(payload, ensure_ascii=False)
    return [{"role": "system", "content": instruction}, {"role": "user", "content": data}]


def _item_input(source: ItemSource) -> tuple[str, dict[str, Any]]:
    """Eq. 13: title and description, else title, attributes and reviews."""
    if source.description:
        return "with_description", {"title": source.title, "description": source.description}
    attributes: dict[str, list[str]] = {}
    for name, value in source.attributes:
        attributes.setdefault(name, []).append(value)
    return "with_reviews", {"title": source.title, "attributes": attributes, "reviews": list(source.reviews)}


def _user_input(source: UserSource) -> tuple[str, dict[str, Any]]:
    """Eq. 14: title, profile, rating and the person's own review of each drawn item."""
    known = [asdict(one) | {"item": None} for one in source.interactions]
    return "instruction", {"interactions": [{k: v for k, v in one.items() if v is not None} for one in known]}


def _texts(node: Any, names: frozenset[str] | None) -> Iterator[tuple[Any, Any, str]]:
    """(holder, place, text) of every string below a key in `names`, of every string at all if None."""
    places = node.items() if isinstance(node, dict) else enumerate(node)
    for place, value in places:
        inner = None if place in (names or ()) else names
        if isinstance(value, str) and inner is None:
            yield node, place, value
        elif isinstance(value, (dict, list)):
            yield from _texts(value, inner)


def _common_limit(lengths: list[int], total: int) -> int:
    """The largest limit L with sum(min(length, L)) <= total: cutting to it trims the longest first."""
    remaining = max(total, 0)
    for place, length in enumerate(ordered := sorted(lengths)):
        share = remaining // (len(ordered) - place)
        if length > share:
            return share
        remaining -= length
    return max(lengths, default=0)
