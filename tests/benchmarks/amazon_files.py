"""Writes reviews and items in the format of Amazon's 2014 release, about as many users and items per review as Books.

python -m tests.benchmarks.amazon_files FOLDER --reviews 22000000
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from isal import igzip

Ints = npt.NDArray[np.int64]
Notation = Callable[[Any], str]

REVIEWS_PER_USER, REVIEWS_PER_ITEM = 2.8, 10
_AT_ONCE = 100_000
_SINCE, _UNTIL = 900_000_000, 1_400_000_000


class Texts:
    """Reviews of about 550 characters on average, drawn from words of unequal frequency."""

    def __init__(self, notation: Notation, rng: np.random.Generator, n: int = 40_000) -> None:
        words = _words(rng)
        shares = 1 / np.arange(1, len(words) + 1) ** 0.9
        lengths = np.clip(rng.lognormal(4.2, 0.9, n), 3, 900).astype(int)
        drawn = rng.choice(len(words), size=lengths.sum(), p=shares / shares.sum())
        pieces = np.split(drawn, np.cumsum(lengths)[:-1])
        self.texts = [notation(" ".join(words[i] for i in piece)) for piece in pieces]
        self.summaries = [notation(" ".join(words[i] for i in piece[:4])) for piece in pieces]


def edges(n: int, of: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Users and items of n among `of` reviews: few have many, most have one or two; about 13 % are in the 10-core."""
    return _skewed(int(of / REVIEWS_PER_USER), n, rng), _skewed(of // REVIEWS_PER_ITEM, n, rng)


def _skewed(n_codes: int, n: int, rng: np.random.Generator) -> Ints:
    low, high = 0.05, 1.05
    drawn = rng.uniform(low, high, n) ** 4
    return (n_codes * (drawn - low**4) / (high**4 - low**4)).astype(np.int64)


def write(folder: Path, n: int, notation: Notation = json.dumps, seed: int = 2023) -> None:
    """reviews_Books.json.gz with n lines in the notation, meta_Books.json.gz with Python literals."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    texts = Texts(notation, rng)
    with igzip.open(folder / "reviews_Books.json.gz", "wb", compresslevel=2) as file:
        for begin in range(0, n, _AT_ONCE):
            file.write("".join(_reviews(min(_AT_ONCE, n - begin), n, texts, notation, rng)).encode())
    literals = Texts(repr, rng)
    with igzip.open(folder / "meta_Books.json.gz", "wb", compresslevel=2) as file:
        for begin in range(0, n // REVIEWS_PER_ITEM, _AT_ONCE):
            numbers = range(begin, min(begin + _AT_ONCE, n // REVIEWS_PER_ITEM))
            file.write("".join(_items(numbers, literals, rng)).encode())


def _reviews(n_lines: int, n: int, texts: Texts, notation: Notation, rng: np.random.Generator) -> Iterator[str]:
    users, items = edges(n_lines, n, rng)
    text = rng.integers(len(texts.texts), size=n_lines)
    stars = rng.choice([1, 2, 3, 4, 5], size=n_lines, p=[0.05, 0.05, 0.1, 0.2, 0.6])
    time = rng.integers(_SINCE, _UNTIL, size=n_lines)
    line = notation(dict.fromkeys(_FIELDS, 0)).replace("0", "%s") + "\n"
    name, date, quoted = notation("J. M. Smith"), notation("09 13, 2009"), notation("%s")
    columns = (column.tolist() for column in (users, items, text, stars, time))
    for u, i, t, s, at in zip(*columns, strict=True):
        ids = (quoted % _user_id(u), quoted % _item_id(i))
        yield line % (*ids, name, "[2, 3]", texts.texts[t], f"{s}.0", texts.summaries[t], at, date)


_FIELDS = ("reviewerID", "asin", "reviewerName", "helpful", "reviewText", "overall", "summary", "unixReviewTime")
_FIELDS += ("reviewTime",)


def _items(numbers: range, texts: Texts, rng: np.random.Generator) -> Iterator[str]:
    text = rng.integers(len(texts.texts), size=len(numbers)).tolist()
    for number, t in zip(numbers, text, strict=True):
        related = [_item_id(number + step) for step in range(1, 6)]
        yield (
            f"{{'asin': '{_item_id(number)}', 'title': {texts.summaries[t]}, 'price': 9.5, "
            f"'related': {{'also_bought': {related}}}, 'salesRank': {{'Books': {number}}}, "
            f"'categories': [['Books', 'Fiction']], 'description': {texts.texts[t]}}}\n"
        )


def _user_id(number: int) -> str:
    return f"A{number * 2_654_435_761 % (1 << 44):013X}"


def _item_id(number: int) -> str:
    return f"{number * 2_654_435_761 % (1 << 32):010d}"


def _words(rng: np.random.Generator) -> list[str]:
    """Words, the frequent ones first; among them some with what notations must escape."""
    syllables = ["ba", "re", "to", "in", "ka", "lo", "mi", "son", "ter", "al", "ve", "dor", "un", "pre", "st", "ing"]
    words = sorted({"".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(12_000)}, key=len)
    for rank, word in enumerate(["don't", "it's", '"great"', "café", "I've", "\n", "can't", "naïve"], start=1):
        words.insert(25 * rank, word)
    return words


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reviews", type=int, default=2_000_000)
    parser.add_argument("--notation", choices=["json", "python"], default="json")
    arguments = parser.parse_args()
    write(arguments.folder, arguments.reviews, json.dumps if arguments.notation == "json" else repr)
