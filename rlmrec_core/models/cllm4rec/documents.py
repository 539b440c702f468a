"""What CLLM4Rec reads: documents of interactions, of profiles and of reviews (Zhu et al., section 3.1)."""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np

from rlmrec_core.models.cllm4rec.packing import Document, Tokens
from rlmrec_core.models.cllm4rec.tokens import TextTokenizer, Vocabulary
from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.split import Split

_SLOT = re.compile(r"\$(user|items|item|text)\b")
_SLOTS = {
    "interactions": {"user", "items"},
    "recommendation": {"user", "items"},
    "biography": {"user", "text"},
    "content": {"item", "text"},
    "review": {"user", "item", "text"},
}


@dataclass(frozen=True)
class Texts:
    """The train side's texts. users, items: a text for each, or None; reviews: (user, item, text)."""

    users: Sequence[str | None]
    items: Sequence[str | None]
    reviews: Sequence[tuple[int, int, str]] = ()

    @classmethod
    def of(
        cls, corpus: TrainCorpus, item_profiles: Sequence[str | None], user_profiles: Sequence[str | None]
    ) -> "Texts":
        """Profiles by item and by user, and the reviews of train.

        The corpus holds no other reviews: it drops the rows of validation and test before it reads them.
        """
        rows = ((row, corpus.review(row)) for row in range(len(corpus.users)))
        reviews = [(int(corpus.users[row]), int(corpus.items[row]), text) for row, text in rows if text]
        return cls(tuple(user_profiles), tuple(item_profiles), tuple(reviews))

    @classmethod
    def none(cls, split: Split) -> "Texts":
        """No text at all."""
        return cls((None,) * split.n_users, (None,) * split.n_items)

    def parts(self) -> Iterator[str]:
        """Everything, in an order that tells one set of texts from another."""
        for side in (self.users, self.items):
            yield str(len(side))
            yield from ("" if text is None else f"={text}" for text in side)
        yield from (f"{user} {item} {text}" for user, item, text in self.reviews)

    def all(self) -> Iterator[str]:
        """Every text there is: of users, of items, reviews."""
        yield from (text for text in (*self.users, *self.items) if text)
        yield from (text for _, _, text in self.reviews)


class Documents:
    """Everything there is to read, as tokens: each text is tokenized once."""

    def __init__(
        self, split: Split, texts: Texts, tokenizer: TextTokenizer, *, max_positions: int, max_text_tokens: int
    ) -> None:
        """max_positions: the longest document; max_text_tokens: where a text is cut; the words around it never are."""
        self.split, self.texts = split, texts
        self.vocabulary = Vocabulary(tokenizer.size, split.n_users, split.n_items)
        self._tokenizer, self._max_positions, self._max_text = tokenizer, max_positions, max_text_tokens
        self._words = {name: _segments(words, tokenizer) for name, words in _templates().items()}
        needed = max(sum(1 if words is None else len(words) for words, _ in one) for one in self._words.values())
        if needed >= max_positions:
            raise ValueError(f"the trunk reads {max_positions} tokens at once, the documents' own words need {needed}")
        counts = np.bincount(split.train.user, minlength=split.n_users)
        self._offsets = np.concatenate([[0], np.cumsum(counts)])
        self.users_in_train = np.flatnonzero(counts)

    def history(self, user: int) -> Tokens:
        """The train items of a user, by id."""
        items: Tokens = self.split.train.item[self._offsets[user] : self._offsets[user + 1]].astype(np.int64)
        return items

    @cached_property
    def content(self) -> list[Document]:
        """Profiles of users, of items, then reviews: every word of the text is predicted."""
        asked: list[tuple[str, dict[str, int]]] = []
        words: list[str] = []
        for name, slot, sides in (("biography", "user", self.texts.users), ("content", "item", self.texts.items)):
            told = [(place, text) for place, text in enumerate(sides) if text]
            asked += [(name, {slot: place}) for place, _ in told]
            words += [text for _, text in told]
        asked += [("review", {"user": user, "item": item}) for user, item, _ in self.texts.reviews]
        words += [text for _, _, text in self.texts.reviews]
        encoded = zip(asked, self._tokenizer.encode(words), strict=True)
        return [self._content(name, slots, text) for (name, slots), text in encoded if len(text)]

    def _content(self, name: str, slots: dict[str, int], text: Tokens) -> Document:
        prompt = self._prompt(name, slots)
        nodes = [slots["user"]] if "user" in slots else []
        nodes += [self.split.n_users + slots["item"]] if "item" in slots else []
        return self._predicted(prompt, text, text[: self._max_text], np.array(nodes))

    def interactions(self, user: int, order: Tokens, *, first: bool = True) -> Document:
        """A user's items in this order; every item is predicted, but for the first one where `first` is False."""
        prompt = self._prompt("interactions", {"user": user})
        items = order[: self._max_positions - len(prompt)]
        skipped = 0 if first else 1
        return self._predicted(prompt, self.vocabulary.item(items), items, self._nodes(user, items), skipped)

    def recommendation(self, user: int, history: Tokens, targets: Tokens) -> Document:
        """A user with a history; what comes next is predicted at the last token: all the targets at once."""
        around = sum(len(words) for words, _ in self._words["recommendation"] if words is not None)
        n_users = sum(slot == "user" for _, slot in self._words["recommendation"])
        items = history[: self._max_positions - around - n_users]
        tokens = self._prompt("recommendation", {"user": user}, self.vocabulary.item(items))
        last, count = np.array([len(tokens) - 1]), np.array([len(targets)])
        return Document(tokens, last, targets, count, self._nodes(user, items))

    def _nodes(self, user: int, items: Tokens) -> Tokens:
        return np.concatenate([np.array([user]), items + self.split.n_users])

    def _prompt(self, name: str, slots: dict[str, int], items: Tokens | None = None) -> Tokens:
        """A template's tokens up to the text, or all of them with the items given."""
        parts: list[Tokens] = []
        for words, slot in self._words[name]:
            if words is not None:
                parts.append(words)
            elif slot == "user":
                parts.append(np.array([self.vocabulary.user(slots["user"])]))
            elif slot == "item":
                parts.append(np.array([self.vocabulary.item(slots["item"])]))
            elif items is not None:
                parts.append(items)
        return np.concatenate(parts)

    def _predicted(self, prompt: Tokens, main: Tokens, targets: Tokens, nodes: Tokens, skipped: int = 0) -> Document:
        """The prompt and the main text after it, whose tokens are predicted by what stands before them: all the
        targets, but for the first `skipped`.
        """
        kept = min(len(targets), self._max_positions - len(prompt))
        # The last token predicts nothing, so nothing needs to read it.
        tokens = np.concatenate([prompt, main[: max(kept - 1, 0)]])
        rows = np.arange(len(prompt) - 1 + skipped, len(prompt) - 1 + kept)
        return Document(tokens, rows, targets[skipped:kept], np.ones(len(rows), np.int64), nodes)


def _templates() -> dict[str, str]:
    file = files("prompts") / "cllm4rec" / "documents.toml"
    content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    return {name: str(content[name]) for name in _SLOTS}


def template_words() -> list[str]:
    """The words of all templates, for a tokenizer that is to know them."""
    return [words for template in _templates().values() for words in _SLOT.split(template)[::2]]


def _segments(template: str, tokenizer: TextTokenizer) -> list[tuple[Tokens | None, str | None]]:
    """The template as words, tokenized, and slots, in order."""
    pieces = _SLOT.split(template)
    words = tokenizer.encode(pieces[::2])
    segments: list[tuple[Tokens | None, str | None]] = []
    for place, encoded in enumerate(words):
        if len(encoded):
            segments.append((encoded, None))
        if 2 * place + 1 < len(pieces):
            segments.append((None, pieces[2 * place + 1]))
    return segments
