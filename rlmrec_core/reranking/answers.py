"""From a language model's answer to an order of items: what is no list of integers is rejected, all else is kept."""

import math
import re
from dataclasses import dataclass
from typing import Any

from rlmrec_core.canonical import canonical_json
from rlmrec_core.llm.answers import clean
from rlmrec_core.profiling.parser import RejectedAnswer, answer_object
from rlmrec_core.ranking.top_k import PADDING

KEYS = ("items", "reasoning")
_ITEMS, _REASONING = KEYS
_LARGEST = 2**31 - 1
_DIGITS = re.compile(r"\s*[+-]?[0-9]+\s*")
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Order:
    """What a language model answered.

    Attributes:
        items: Its numbers as they came, also those that stand for no candidate; PADDING for one beyond all numbers.
        reasoning: Why, in its words; empty without.
        again: Whether it had to be asked a second time, since its first answer held no list.
    """

    items: tuple[int, ...]
    reasoning: str = ""
    again: bool = False

    @property
    def text(self) -> str:
        """Items and `again` as one text, for a row."""
        return canonical_json({_ITEMS: self.items, "again": self.again})


def order_of(text: str, *, places: int, max_words: int) -> Order:
    """The order in an answer: its first `places` numbers.

    An integer may be spelt as a text or with a fraction of zero, and the object may stand in prose, fences or thoughts.
    A reasoning that is missing, no text, or too long costs no second question: it is left out, or cut.

    Raises RejectedAnswer on anything but one object with a list of integers, or where that is empty.
    """
    answer = answer_object(text)
    if _ITEMS not in answer:
        raise RejectedAnswer(f"the key {_ITEMS} is missing")
    items = answer[_ITEMS]
    if not isinstance(items, list) or not items:
        raise RejectedAnswer(f"{_ITEMS} must be a list of indices")
    reasoning = answer.get(_REASONING)
    words = clean(reasoning).split() if isinstance(reasoning, str) else []
    return Order(tuple(map(_index, items[:places])), " ".join(words[:max_words]))


def _index(value: Any) -> int:
    number = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and (math.isinf(value) or value.is_integer()):
        number = int(value) if math.isfinite(value) else _LARGEST + 1
    elif isinstance(value, str) and _DIGITS.fullmatch(value):
        # int() refuses texts of thousands of digits.
        number = int(value) if len(value.strip()) <= _MOST_DIGITS else _LARGEST + 1
    if number is None:
        # Not even the text of what is nested as deep as Python can read is safe to make.
        shown = type(value).__name__ if isinstance(value, (list, dict)) else repr(str(value)[:40])
        raise RejectedAnswer(f"{_ITEMS} must hold indices alone, which are integers, and holds {shown}")
    return number if abs(number) <= _LARGEST else PADDING
