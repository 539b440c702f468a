"""Evidence for every item of every list: what the user has that is nearest to it, and what both profiles speak of."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rlmrec_core.explain.grounding import stop_words
from rlmrec_core.ranking.top_k import PADDING, Ranking
from rlmrec_core.split import Edges, Int32Array
from rlmrec_core.vectors import Float32Array, SemanticEmbeddings, Vectors, unit_rows

Texts = Sequence[str | None]

_WORD = re.compile(r"[^\W\d_]{4,}")
_N_WORDS = 3
_REMEMBERED = 50_000
_COMMON = 0.2
"""A word in more than this share of the items' profiles tells nothing about one of them."""


class Near(NamedTuple):
    """An item that the user has, and its cosine with the listed one."""

    item: int
    cosine: float


class Evidence(NamedTuple):
    """Why `item` stands at `rank` of a user's list.

    behaviour: the user's item whose learnt vector is nearest; text: the one whose semantic vector is, None where there
    are no such vectors; words: what both profiles speak of, the rarest first.
    """

    user: int
    rank: int
    item: int
    behaviour: Near | None
    text: Near | None
    words: tuple[str, ...]


def evidence(
    ranking: Ranking,
    known: Edges,
    vectors: Vectors,
    semantic: SemanticEmbeddings | None = None,
    user_texts: Texts = (),
    item_texts: Texts = (),
) -> Iterator[Evidence]:
    """The evidence for each place of each list, by user and rank.

    Args:
        ranking: The lists.
        known: The interactions that the lists leave out, ordered by user: the only items that are named as evidence.
        vectors: What the lists were ranked by.
        semantic: The profiles' vectors; None names no item for its text.
        user_texts: The profile of each user, None where there is none; empty for none at all.
        item_texts: The same of the items.
    """
    learnt = unit_rows(vectors.items)
    meant = None if semantic is None else unit_rows(semantic.items)
    words = _Words(item_texts)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(known.user, minlength=len(ranking.items)))])
    for user, row in enumerate(ranking.items):
        listed = row[row != PADDING]
        own = known.item[offsets[user] : offsets[user + 1]]
        behaviour, text = _nearest(learnt, listed, own), _nearest(meant, listed, own)
        said = words.of(user_texts[user]) if user_texts else frozenset[str]()
        for place, item in enumerate(listed.tolist()):
            yield Evidence(user, place + 1, item, behaviour[place], text[place], words.shared(said, item))


def _nearest(unit: Float32Array | None, listed: Int32Array, own: Int32Array) -> list[Near | None]:
    """For each listed item the nearest of the user's own; None where a vector is missing on either side."""
    if unit is None or not len(own):
        return [None] * len(listed)
    cosines = unit[listed] @ unit[own].T
    best = cosines.argmax(axis=1)
    found = zip(own[best].tolist(), cosines[np.arange(len(listed)), best].tolist(), strict=True)
    return [Near(item, cosine) if cosine > 0 else None for item, cosine in found]


class _Words:
    """The words of profiles that say something."""

    def __init__(self, item_texts: Texts) -> None:
        self._n_items = len(item_texts)
        # The words of millions of items would fill the memory; the lists hold few items often, and others rarely.
        self._of_item = lru_cache(_REMEMBERED)(lambda item: self.of(item_texts[item]))
        self._counts = Counter(word for text in item_texts for word in self.of(text))
        self._limit = max(2, _COMMON * len(item_texts))

    @staticmethod
    def of(text: str | None) -> frozenset[str]:
        """Words of four letters or more, in small letters, without those that stand in any text."""
        return frozenset(word for word in _WORD.findall((text or "").lower()) if word not in stop_words())

    def shared(self, said: frozenset[str], item: int) -> tuple[str, ...]:
        """What a user's words and an item's have in common, the rarest first."""
        if not said or item >= self._n_items:
            return ()
        common = (word for word in said & self._of_item(item) if self._counts[word] <= self._limit)
        return tuple(sorted(common, key=lambda word: (self._counts[word], word))[:_N_WORDS])
