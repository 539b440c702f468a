"""A small world of books, drawn from latent tastes: the input of a first run, which needs no files.

Readers love a few of many themes, most of them from two genres; a little is owed to genre, setting and pace. What they
read, how they rate it and what their reviews praise all follow from that, so that descriptions and reviews tell of
preference as well as of which books are alike. Histories are short and most books have few readers; one book in eight
comes from what everybody reads. docs/sample.md shows how that compares with real data.
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
    setting: Ints
    pace: Ints
    author: Ints
    quality: Ints
    """0 to 4."""
    popularity: Ints
    """Weight of being come across, at least 1."""


@dataclass(frozen=True)
class _Taste:
    """What one reader likes: points per genre, theme, setting and pace."""

    genre: Ints
    theme: Ints
    setting: Ints
    pace: Ints

    def points(self, books: _Books) -> Ints:
        """How well each book fits, (n_items,): below 0 is disliked, 6 and more is loved."""
        themes: Ints = self.theme[books.themes].sum(axis=1)
        return themes + self.genre[books.genre] + self.setting[books.setting] + self.pace[books.pace]


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
        authors = _names(words.FIRST_NAMES, words.LAST_NAMES, self._n_authors, rng)
        books = [self._book(item, titles[item], authors, rng) for item in range(self.config.sample_items)]
        yield pa.RecordBatch.from_pylist(books, schema=ITEMS)

    @property
    def _n_authors(self) -> int:
        return max(len(_GENRES), self.config.sample_items // 6)

    @cached_property
    def _books(self) -> _Books:
        rng = np.random.default_rng([self.config.seed, 0])
        n = self.config.sample_items
        # Authors keep to a genre.
        author = rng.integers(self._n_authors, size=n)
        genre = author % len(_GENRES)
        # Two themes of its genre, one of any: tastes for a theme reach across genres.
        native = [rng.permutation(_THEMES_OF[_GENRES[g]])[:2] for g in genre]
        themes = np.column_stack([np.array(native), rng.integers(len(_THEMES), size=n)])
        setting, pace = (rng.integers(len(choices), size=n) for choices in (words.SETTINGS, words.PACES))
        # One over the rank, flattened: the first is come across seven times as often as the last.
        popularity = 1 + 80 * n // (n + 6 * rng.permutation(n))
        return _Books(genre, themes, setting, pace, author, rng.integers(5, size=n), popularity)

    def _history(self, user_id: str, rng: np.random.Generator) -> list[dict[str, object]]:
        """What one reader read, in order of time."""
        taste = _draw_taste(rng)
        points = taste.points(self._books)
        # A product has many small values and a long tail.
        n_read = min(8 + int(rng.integers(40, size=3).prod()) // 1200, self.config.sample_items // 2)
        by_taste = np.clip(points, 1, 16) ** 4 * self._books.popularity
        chosen = _distinct_draws(by_taste, self._books.popularity, n_read, rng)
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
        place = words.SETTINGS[books.setting[item]]
        description = _fill(template, pace=pace, genre=genre, first=first, second=second, third=third, place=place)
        values = (authors[books.author[item]], genre, _pick(words.ERAS, rng))
        return {
            "item_id": _item_id(item),
            "title": title,
            # One in seven lacks a description, as in real catalogues.
            "description": description if rng.integers(7) else None,
            "attributes": as_attributes(zip(("author", "genre", "era"), values, strict=True)),
        }


def _draw_taste(rng: np.random.Generator) -> _Taste:
    sizes = (len(_GENRES), len(_THEMES), len(words.SETTINGS), len(words.PACES))
    genre, theme, setting, pace = (np.zeros(n, np.int64) for n in sizes)
    favourite, second = rng.permutation(len(_GENRES))[:2]
    genre[favourite], genre[second] = 2, 1
    # Three of the loved themes are of the two genres, two of any.
    near = rng.permutation(_THEMES_OF[_GENRES[favourite]] + _THEMES_OF[_GENRES[second]])[:3]
    far = rng.permutation(len(_THEMES))[:5]
    theme[far[2:]] = -3
    theme[far[:2]] = 6
    theme[near] = 6
    setting[rng.permutation(len(words.SETTINGS))[:2]] = 1
    pace[rng.integers(len(words.PACES))] = 1
    return _Taste(genre, theme, setting, pace)


def _reading_times(n: int, rng: np.random.Generator) -> list[int]:
    """n times, ascending, in seconds since 1970: readers come and go within eight years."""
    joined = int(rng.integers(6 * _YEAR))
    stayed = int(rng.integers(_YEAR // 2, 8 * _YEAR - joined))
    return sorted((_SINCE + joined + rng.integers(stayed, size=n)).tolist())


def _distinct_draws(weights: Ints, others: Ints, n: int, rng: np.random.Generator) -> list[int]:
    """n different positions, drawn one after another by weight; every eighth by the other weights."""
    by_weight, by_others = np.cumsum(weights), np.cumsum(others)
    drawn: dict[int, None] = {}
    while len(drawn) < n:
        bounds = by_weight if rng.integers(8) else by_others
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
