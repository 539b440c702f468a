"""What one text is written from, such as the facts about an item (eq. 13) or a person (eq. 14)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlmrec_core.canonical import digest_of
from rlmrec_core.profiling.corpus import Rows, TrainCorpus

Side = Literal["item", "user"]


class Source(Protocol):
    """Whatever a model server is asked to write about, one text for each."""

    @property
    def id(self) -> int:
        """The row that the text belongs to."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write from."""

    @property
    def pairs(self) -> tuple[int, ...]:
        """TrainCorpus.pairs of the interactions that it tells of."""

    @property
    def parts(self) -> list[Any]:
        """All its text, as plain JSON, divided into what may change by itself."""


@dataclass(frozen=True)
class ItemSource:
    """An item's own text and the train reviews drawn for it."""

    id: int
    title: str | None
    description: str | None
    attributes: tuple[tuple[str, str], ...]
    reviews: tuple[str, ...]
    pairs: tuple[int, ...] = ()
    """TrainCorpus.pairs of the reviews."""

    @property
    def is_empty(self) -> bool:
        return not (self.title or self.description or self.attributes or self.reviews)

    @property
    def parts(self) -> list[Any]:
        """The item as a whole."""
        return [[self.title, self.description, self.attributes, self.reviews]]


@dataclass(frozen=True)
class Interaction:
    """One train item of a person: what it is, who enjoys it, and the person's own words."""

    item: int
    title: str | None
    profile: str | None
    rating: float | None
    review: str | None


@dataclass(frozen=True)
class UserSource:
    """The train interactions drawn for one person, those without any text left out."""

    id: int
    interactions: tuple[Interaction, ...]
    pairs: tuple[int, ...] = ()
    """TrainCorpus.pairs of the interactions, and those that the items' profiles were written from."""

    @property
    def is_empty(self) -> bool:
        return not self.interactions

    @property
    def parts(self) -> list[Any]:
        """Each interaction."""
        return [[one.title, one.profile, one.rating, one.review] for one in self.interactions]


ProfileSource = ItemSource | UserSource


def source_hash(source: Source) -> str:
    """sha256 of all the text of a source, whatever dense ids stand for it in this run."""
    return digest_of(source.parts[0] if isinstance(source, ItemSource) else source.parts)


def source_parts(source: Source) -> tuple[int, ...]:
    """A hash of 64 bits for each part of a source."""
    return tuple(int.from_bytes(bytes.fromhex(digest_of(part))[:8], signed=True) for part in source.parts)


def item_sources(
    corpus: TrainCorpus, ids: Iterable[int] | None = None, *, max_reviews: int, seed: int
) -> Iterator[ItemSource]:
    """One source per item, by id: of these items, or of all."""
    for item in range(corpus.n_items) if ids is None else ids:
        yield item_source(corpus, item, max_reviews=max_reviews, seed=seed)


def item_source(corpus: TrainCorpus, item: int, *, max_reviews: int, seed: int) -> ItemSource:
    """The source of one item."""
    rows = corpus.rows_of_item(item)
    written = rows[[corpus.review(int(row)) is not None for row in rows]] if len(rows) else rows
    drawn = sample_rows(corpus, "item", written, max_reviews, seed)
    reviews = tuple(review for row in drawn if (review := corpus.review(row)))
    texts = (corpus.title(item), corpus.description(item), corpus.attributes(item))
    return ItemSource(item, *texts, reviews, tuple(corpus.pairs[list(drawn)].tolist()))


def user_sources(
    corpus: TrainCorpus,
    item_profiles: Sequence[str | None],
    ids: Iterable[int] | None = None,
    *,
    max_items: int,
    seed: int,
    item_pairs: Callable[[int], Sequence[int]] = lambda item: (),
) -> Iterator[UserSource]:
    """One source per user, by id: of these users, or of all.

    item_profiles: the summarization of each item, None where it has none. item_pairs: the train pairs that the profile
    of an item was written from.
    """
    for user in range(corpus.n_users) if ids is None else ids:
        yield user_source(corpus, user, item_profiles, max_items=max_items, seed=seed, item_pairs=item_pairs)


def user_source(
    corpus: TrainCorpus,
    user: int,
    item_profiles: Sequence[str | None],
    *,
    max_items: int,
    seed: int,
    item_pairs: Callable[[int], Sequence[int]] = lambda item: (),
) -> UserSource:
    """The source of one user."""
    drawn = sample_rows(corpus, "user", corpus.rows_of_user(user), max_items, seed)
    chosen, pairs = [], set[int]()
    for row in drawn:
        one = _interaction(corpus, row, item_profiles)
        if one.title or one.profile or one.review:
            chosen.append(one)
            pairs.update([int(corpus.pairs[row])], item_pairs(one.item))
    return UserSource(user, tuple(chosen), tuple(sorted(pairs)))


def _interaction(corpus: TrainCorpus, row: int, item_profiles: Sequence[str | None]) -> Interaction:
    item = int(corpus.items[row])
    return Interaction(item, corpus.title(item), item_profiles[item], corpus.rating(row), corpus.review(row))


def sample_rows(corpus: TrainCorpus, side: Side, rows: Rows, size: int, seed: int) -> Sequence[int]:
    """At most `size` of one item's or user's train rows, uniformly, in the order of the draw.

    Every row is ranked by a hash of the seed and its own ids, and the lowest ranks win (bottom-k sampling): a row's
    rank depends on no other row and no dense number, so that a new review or item changes at most one place in the
    samples it belongs to.
    """
    ranks = [(_rank(corpus, side, int(row), seed), int(row)) for row in rows]
    return [row for _, row in sorted(ranks)[:size]]


def _rank(corpus: TrainCorpus, side: Side, row: int, seed: int) -> bytes:
    user, item = corpus.user_ids[int(corpus.users[row])].as_py(), corpus.item_ids[int(corpus.items[row])].as_py()
    return hashlib.blake2b(f"{seed}\x1f{side}\x1f{user}\x1f{item}".encode(), digest_size=16).digest()
