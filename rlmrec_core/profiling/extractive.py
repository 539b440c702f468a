"""Profiles without a language model: the most telling pieces of the train text itself.

An item's profile is its title, its attributes, the lead of its description and the review sentences that at least two
reviews bear out. A person's profile condenses the profiles of their train items and their own reviews: what they have
in common first, then their most central and diverse sentences. Nothing is random; ties go to what comes first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import log1p
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from rlmrec_core.profiling.corpus import TrainCorpus
from rlmrec_core.profiling.result import ProfileRow
from rlmrec_core.profiling.sentences import centrality, fit_tfidf, select, split_sentences, split_statements, support
from rlmrec_core.profiling.sources import ItemSource, UserSource, item_sources, source_hash, user_sources

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

Attribute = tuple[str, str]

_MOST_TEXTS = 100  # reviews of one item, or items of one person, that are read at most
_LEAD = 3  # sentences taken from the start of a description
_SENTENCES = 4  # review or profile sentences in one profile at most
_VALUES = 8  # values named per attribute
_WORD_CHARACTERS = 15  # of one word on average at most: what is longer is no prose, or has no blanks
_THEMES = 16  # terms named per person
_BORNE_OUT = 0.2  # cosine from which one sentence bears out another


@dataclass(frozen=True)
class _Sentences:
    """Sentences with their unit TF-IDF vectors (n, terms) and the text that each comes from."""

    texts: list[str]
    vectors: sp.csr_matrix
    groups: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def words(self) -> list[int]:
        return [len(text.split()) for text in self.texts]


def extract_items(
    corpus: TrainCorpus, ids: Iterable[int] | None = None, *, max_words: int, seed: int
) -> Iterator[ProfileRow]:
    """One row per item, by id: of these items, or of all."""
    sources = item_sources(corpus, ids, max_reviews=_MOST_TEXTS, seed=seed)
    return map(item_extractor(corpus, max_words=max_words, seed=seed), sources)


def extract_users(
    corpus: TrainCorpus,
    item_profiles: Sequence[str | None],
    ids: Iterable[int] | None = None,
    *,
    max_words: int,
    seed: int,
) -> Iterator[ProfileRow]:
    """One row per user, by id: of these users, or of all.

    item_profiles: the summarization of each item, None where it has none.
    """
    write = user_extractor(corpus, item_profiles, max_words=max_words)
    return map(write, user_sources(corpus, item_profiles, ids, max_items=_MOST_TEXTS, seed=seed))


def item_extractor(corpus: TrainCorpus, *, max_words: int, seed: int) -> Callable[[ItemSource], ProfileRow]:
    """Writes one item's profile; what the items share is computed here."""
    sources = item_sources(corpus, max_reviews=_MOST_TEXTS, seed=seed)
    reviews = (review for source in sources for review in source.reviews)
    tfidf = fit_tfidf(sentence for review in reviews for sentence in split_statements(review))
    return lambda source: _item_row(source, tfidf, max_words)


def user_extractor(
    corpus: TrainCorpus, item_profiles: Sequence[str | None], *, max_words: int
) -> Callable[[UserSource], ProfileRow]:
    """Writes one user's profile; what the users share is computed here."""
    return _UserWriter(corpus, item_profiles, max_words).row


def _item_row(source: ItemSource, tfidf: "TfidfVectorizer | None", max_words: int) -> ProfileRow:
    if source.is_empty:
        return ProfileRow(source.id, "extractive", "missing", error="no title, description, attribute or train review")
    budget = _Budget(max_words)
    budget.add([f"{source.title.rstrip('.')}."] if source.title else [])
    facts = budget.add(_facts(source.attributes))
    lead = budget.add(split_sentences(source.description)[:_LEAD])
    chosen = _borne_out(source.reviews, tfidf, budget.left, alone=not lead)
    voices = budget.add([text for text, _ in chosen])
    reasoning = (
        f"Extracted without a language model: the title, {facts} facts, {lead} sentences that open the description "
        f"and {voices} sentences from {len(source.reviews)} train reviews, preferring what several reviews bear out."
    )
    return replace(
        _ok(source, budget.text, reasoning), source_pairs=tuple(source.pairs[review] for _, review in chosen)
    )


def _ok(source: ItemSource | UserSource, text: str, reasoning: str) -> ProfileRow:
    return ProfileRow(source.id, "extractive", "ok", text, reasoning, source_hash=source_hash(source))


class _Budget:
    """Collects sentences until the words, or the characters that so many words may have, are used up."""

    def __init__(self, words: int) -> None:
        self.left = words
        self._characters = words * _WORD_CHARACTERS
        self._parts: list[str] = []

    def add(self, sentences: Sequence[str]) -> int:
        """Take the sentences that still fit, in order; returns how many. The very first is cut rather than refused."""
        taken = 0
        for sentence in sentences:
            words = sentence.split()
            if (len(words) > self.left or len(sentence) > self._characters) and self._parts:
                continue
            self._parts.append(" ".join(words[: self.left])[: self._characters])
            self._characters -= len(self._parts[-1])
            self.left -= min(len(words), self.left)
            taken += 1
        return taken

    @property
    def text(self) -> str:
        return " ".join(self._parts)


def _facts(attributes: Sequence[Attribute]) -> list[str]:
    """One sentence per attribute name, in the order given."""
    values: dict[str, list[str]] = {}
    for name, value in attributes:
        values.setdefault(name, []).append(value)
    return [f"{name}: {', '.join(known[:_VALUES])}." for name, known in values.items()]


def _single(attributes: Sequence[Attribute]) -> list[Attribute]:
    """Attributes whose value lists several things ("Crime, Drama"), as one each."""
    return [(name, part) for name, value in attributes for part in value.split(", ")]


def _borne_out(
    reviews: Sequence[str], tfidf: "TfidfVectorizer | None", words: int, alone: bool
) -> list[tuple[str, int]]:
    """Review sentences that at least two reviews support; the most central ones if there are none and no other text.

    Each with the position of its review.
    """
    pairs = [(text, place) for place, review in enumerate(reviews) for text in dict.fromkeys(split_statements(review))]
    if not pairs:
        return []
    texts = [text for text, _ in pairs]
    if tfidf is None:
        return pairs[:1] if alone else []
    vectors = tfidf.transform(texts)
    supporters, scores = support(vectors, np.array([place for _, place in pairs]), _BORNE_OUT)
    lengths = np.array([len(text.split()) for text in texts])
    candidates = np.where(supporters >= 2, lengths, 0)
    if not candidates.any() and alone:
        candidates = lengths
    return [pairs[place] for place in select(vectors, scores, candidates.tolist(), words, _SENTENCES)]


class _UserWriter:
    """Writes users' profiles; holds what they share: the vectors of all item-profile sentences."""

    def __init__(self, corpus: TrainCorpus, item_profiles: Sequence[str | None], max_words: int) -> None:
        self._corpus = corpus
        self._max_words = max_words
        self._sentences = [self._telling(item, profile) for item, profile in enumerate(item_profiles)]
        self._start = np.cumsum([0, *map(len, self._sentences)])
        everything = [text for sentences in self._sentences for text in sentences]
        reviews = (corpus.review(row) for row in range(len(corpus.users)))
        self._tfidf = fit_tfidf(chain(everything, (text for review in reviews for text in split_statements(review))))
        self._vectors = self._tfidf.transform(everything) if self._tfidf else sp.csr_matrix((len(everything), 1))
        self._usual = np.asarray(self._vectors.sum(axis=0)).ravel() / max(len(everything), 1)
        self._terms = self._tfidf.get_feature_names_out() if self._tfidf else np.array([], dtype=object)
        self._attributes = [_single(corpus.attributes(item)) for item in range(corpus.n_items)]
        self._spread = Counter(pair for pairs in self._attributes for pair in set(pairs))

    def row(self, source: UserSource) -> ProfileRow:
        if source.is_empty:
            return ProfileRow(source.id, "extractive", "missing", error="no train item with a title, profile or review")
        budget = _Budget(self._max_words)
        common = budget.add(_facts(self._shared(source)))
        pool = self._pool(source)
        terms = self._themes(pool)
        common += budget.add([f"Recurring themes: {', '.join(terms)}."] if terms else [])
        chosen = select(pool.vectors, centrality(pool.vectors), pool.words, budget.left, _SENTENCES)
        taken = budget.add([pool.texts[place] for place in chosen])
        if not common + taken:
            budget.add([f"{one.title}." for one in source.interactions if one.title])
        reasoning = (
            f"Extracted without a language model from {len(source.interactions)} train items: what their attributes "
            f"and profiles have in common, and the {taken} most central of {len(pool.texts)} sentences."
        )
        return _ok(source, budget.text, reasoning)

    def _telling(self, item: int, profile: str | None) -> list[str]:
        """A profile's sentences without the title and the facts, which are compared as attributes."""
        openings = tuple(f"{name}: " for name, _ in self._corpus.attributes(item))
        title = f"{(self._corpus.title(item) or '').rstrip('.')}."
        return [text for text in split_sentences(profile) if text != title and not text.startswith(openings)]

    def _shared(self, source: UserSource) -> list[Attribute]:
        """Attributes of a tenth of the items and of at least two, or of the only one; the telling ones first.

        Ranked by how many of the items share them times how rare they are among all items.
        """
        counts = Counter(pair for one in source.interactions for pair in dict.fromkeys(self._attributes[one.item]))
        least = min(max(2, len(source.interactions) / 10), len(source.interactions))
        ranks = {p: -n * log1p(self._corpus.n_items / self._spread[p]) for p, n in counts.items() if n >= least}
        return sorted(ranks, key=lambda pair: (ranks[pair], pair))

    def _pool(self, source: UserSource) -> _Sentences:
        """Sentences of the items' profiles, then of the person's own reviews."""
        items = [one.item for one in source.interactions]
        rows = np.concatenate([np.arange(self._start[item], self._start[item + 1]) for item in items])
        texts = [text for item in items for text in self._sentences[item]]
        groups = np.repeat(np.arange(len(items)), [len(self._sentences[item]) for item in items])
        own = [(text, g) for g, one in enumerate(source.interactions) for text in split_statements(one.review)]
        if not own or self._tfidf is None:
            return _Sentences(texts, self._vectors[rows], groups)
        vectors = sp.vstack([self._vectors[rows], self._tfidf.transform([text for text, _ in own])], format="csr")
        return _Sentences([*texts, *(text for text, _ in own)], vectors, np.r_[groups, [g for _, g in own]])

    def _themes(self, pool: _Sentences) -> list[str]:
        """Terms that the texts of at least two items share, by how far they outweigh their usual weight."""
        used = pool.vectors.tocoo()
        terms, place = np.unique(used.col, return_inverse=True)
        weight = np.bincount(place, used.data, len(terms)) - self._usual[terms] * len(pool.texts)
        seen = np.unique(np.c_[place, pool.groups[used.row]], axis=0)[:, 0]
        weight[np.bincount(seen, minlength=len(terms)) < 2] = 0
        best = np.lexsort((terms, -weight))[:_THEMES]
        return [str(self._terms[terms[at]]) for at in best if weight[at] > 0]
