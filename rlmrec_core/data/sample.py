"""A small world of books, drawn from latent tastes: the input of a first run, which needs no files.

Readers like some genres, some themes (of any genre) and a pace. What they read, how they rate it and what their reviews
praise all follow from that, so descriptions and reviews tell of preference as well as of which books are alike.
The arithmetic is in integers only: no rounding, hence the same bytes on every machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rlmrec_core.data import sample_words as words
from rlmrec_core.data.cells import as_attributes
from rlmrec_core.data.reader import Reader
from rlmrec_core.tables import INTERACTIONS, ITEMS

Ints = npt.NDArray[np.int64]

_GENRES = tuple(words.GENRES)
_THEMES = tuple((genre, theme) for genre in _GENRES for theme in words.GENRES[genre])
_THEMES_OF = {genre: [i for i, (owner, _) in enumerate(_THEMES) if owner == genre] for genre in _GENRES}

_SINCE = int(datetime(2016, 1, 1, tzinfo=UTC).timestamp())
_YEAR = 365 * 86_400
_BATCH_USERS = 256


@dataclass(frozen=True)
class _Books:
    """What books are made of: arrays of length n_items, themes (n_items, 3)."""

    genre: Ints
    themes: Ints
    pace: Ints
    quality: Ints
    """0 to 4."""
    popularity: Ints
    """Weight of being come across, at least 1."""


@dataclass(frozen=True)
class _Taste:
    """What one reader likes: points per genre, theme and pace."""

    genre: Ints
    theme: Ints
    pace: Ints

    def points(self, books: _Books) -> Ints:
        """How well each book fits, (n_items,): below 0 is disliked, 10 and more is loved."""
        points: Ints = self.genre[books.genre] + self.theme[books.themes].sum(axis=1) + self.pace[books.pace]
        return points


class SampleReader(Reader):
    """Books of eight genres, their readers, ratings from 1 to 5, and reviews of most of them."""

    def interactions(self) -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng([self.config.seed, 1])
        rows: list[dict[str, object]] = []
        for user in range(self.config.sample_users):
            rows += self._history(f"reader-{user:05}", rng)
            if (user + 1) % _BATCH_USERS == 0 or user + 1 == self.config.sample_users:
                yield pa.RecordBatch.from_pylist(rows, schema=INTERACTIONS)
                rows = []

    def items(self) -> Iterator[pa.RecordBatch]:
        rng = np.random.default_rng([self.config.seed, 2])
        titles = _names(words.TITLE_HEADS, words.TITLE_TAILS, self.config.sample_items, rng)
        authors = _names(words.FIRST_NAMES, words.LAST_NAMES, max(8, self.config.sample_items // 6), rng)
        books = [self._book(item, titles[item], authors, rng) for item in range(self.config.sample_items)]
        yield pa.RecordBatch.from_pylist(books, schema=ITEMS)

    @cached_property
    def _books(self) -> _Books:
        rng = np.random.default_rng([self.config.seed, 0])
        n = self.config.sample_items
        genre = rng.integers(len(_GENRES), size=n)
        # Two themes of its genre, one of any: tastes for a theme reach across genres.
        native = [rng.permutation(_THEMES_OF[_GENRES[g]])[:2] for g in genre]
        themes = np.column_stack([np.array(native), rng.integers(len(_THEMES), size=n)])
        popularity = 1 + 80 * n // (n + 20 * rng.permutation(n))
        return _Books(genre, themes, rng.integers(len(words.PACES), size=n), rng.integers(5, size=n), popularity)

    def _history(self, user_id: str, rng: np.random.Generator) -> list[dict[str, object]]:
        """What one reader read, in order of time."""
        taste = _draw_taste(rng)
        points = taste.points(self._books)
        n_read = min(10 + int(rng.integers(60) * rng.integers(60)) // 32, self.config.sample_items // 2)
        fit = np.clip(points + 3, 1, 16)
        chosen = _distinct_draws(fit**3 * self._books.popularity, n_read, rng)
        rows: list[dict[str, object]] = []
        for item, second in zip(chosen, _reading_times(n_read, rng), strict=True):
            rating = self._rating(item, int(points[item]), rng)
            review = self._review(item, taste, rating, rng) if rng.integers(4) else None
            values = (user_id, _item_id(item), float(rating), second * 1_000_000, review, None)
            rows.append(dict(zip(INTERACTIONS.names, values, strict=True)))
        return rows

    def _rating(self, item: int, points: int, rng: np.random.Generator) -> int:
        """1 to 5 stars: how well the book fits, how good it is, and a mood."""
        mood = int(rng.integers(7)) + int(rng.integers(7)) - 6
        return min(max((2 * points + 2 * int(self._books.quality[item]) + 2 * mood + 9) // 7, 1), 5)

    def _review(self, item: int, taste: _Taste, rating: int, rng: np.random.Generator) -> str:
        """Praise of the theme that the reader likes most, or complaint about the one liked least."""
        themes = self._books.themes[item]
        liking = taste.theme[themes]
        theme = themes[liking.argmax() if rating >= 3 else liking.argmin()]
        templates = words.LIKED if rating >= 4 else words.FINE if rating == 3 else words.DISLIKED
        return _fill(_pick(templates, rng), theme=_phrase(theme, rng), genre=_GENRES[self._books.genre[item]])

    def _book(self, item: int, title: str, authors: Sequence[str], rng: np.random.Generator) -> dict[str, object]:
        books = self._books
        genre, pace = _GENRES[books.genre[item]], words.PACES[books.pace[item]]
        first, second, third = (_phrase(theme, rng) for theme in books.themes[item])
        template = _pick(words.DESCRIPTIONS, rng)
        description = _fill(template, pace=pace, genre=genre, first=first, second=second, third=third)
        # Authors keep to a genre: every eighth name writes in it.
        own = authors[books.genre[item] % len(authors) :: len(_GENRES)]
        values = (_pick(own, rng), genre, _pick(words.ERAS, rng))
        return {
            "item_id": _item_id(item),
            "title": title,
            # One in seven lacks a description, as in real catalogues.
            "description": description if rng.integers(7) else None,
            "attributes": as_attributes(zip(("author", "genre", "era"), values, strict=True)),
        }


def _draw_taste(rng: np.random.Generator) -> _Taste:
    genre, theme, pace = (np.zeros(n, np.int64) for n in (len(_GENRES), len(_THEMES), len(words.PACES)))
    favourite, second = rng.permutation(len(_GENRES))[:2]
    genre[favourite], genre[second] = 4, 2
    # Half of the loved themes are of the two genres, the others of any.
    near = rng.permutation(_THEMES_OF[_GENRES[favourite]] + _THEMES_OF[_GENRES[second]])[:3]
    far = rng.permutation(len(_THEMES))[:5]
    theme[far[3:]] = -3
    theme[far[:3]] = 4
    theme[near] = 4
    pace[rng.integers(len(words.PACES))] = 2
    return _Taste(genre, theme, pace)


def _reading_times(n: int, rng: np.random.Generator) -> list[int]:
    """n times, ascending, in seconds since 1970: readers come and go within eight years."""
    joined = int(rng.integers(6 * _YEAR))
    stayed = int(rng.integers(_YEAR // 2, 8 * _YEAR - joined))
    return sorted((_SINCE + joined + rng.integers(stayed, size=n)).tolist())


def _distinct_draws(weights: Ints, n: int, rng: np.random.Generator) -> list[int]:
    """n different positions, drawn one after another by weight."""
    bounds = np.cumsum(weights)
    drawn: dict[int, None] = {}
    while len(drawn) < n:
        ticket = int(rng.integers(bounds[-1]))
        drawn.setdefault(int(np.searchsorted(bounds, ticket, side="right")))
    return list(drawn)


def _names(heads: Sequence[str], tails: Sequence[str], n: int, rng: np.random.Generator) -> list[str]:
    """n different names; once all pairs are used up they get a number."""
    pairs = [f"{head} {tail}" for head, tail in product(heads, tails)]
    order = rng.permutation(len(pairs))
    return [pairs[order[i % len(pairs)]] + (f" {i // len(pairs) + 1}" if i >= len(pairs) else "") for i in range(n)]


def _phrase(theme: int, rng: np.random.Generator) -> str:
    genre, name = _THEMES[theme]
    return _pick(words.GENRES[genre][name], rng)


def _pick(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _fill(template: str, **parts: str) -> str:
    """The template filled; {Theme} is {theme} with a capital."""
    capitals = {name.capitalize(): part[:1].upper() + part[1:] for name, part in parts.items()}
    return template.format(**parts, **capitals)


def _item_id(item: int) -> str:
    return f"book-{item:05}"
