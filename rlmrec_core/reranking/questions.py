"""What a language model is shown of a user: the titles of train items, and those of a model's best items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlmrec_core.config.rerank import RerankConfig
from rlmrec_core.data.draws import Draws
from rlmrec_core.profiling.corpus import Rows, TrainCorpus
from rlmrec_core.profiling.sources import sample_rows
from rlmrec_core.ranking.top_k import PADDING
from rlmrec_core.split import Edges, Int32Array, Int64Array


class NoTitles(LookupError):
    """Data whose items nobody can tell apart by their names."""


@dataclass(frozen=True)
class Question:
    """One user's candidates, to be put in order.

    Attributes:
        id: Its row.
        user: Whose they are.
        n_candidates: How many were asked for; a user who has nearly all items has fewer left.
        candidates: Item numbers, the model's best first.
        shown: The same in the order in which they are shown.
        titles: Of the items shown, None where an item has none.
        history: Titles of the user's train items.
    """

    id: int
    user: int
    n_candidates: int
    candidates: tuple[int, ...]
    shown: tuple[int, ...]
    titles: tuple[str | None, ...]
    history: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no name would tell the candidates apart."""
        return not any(self.titles)

    @property
    def pairs(self) -> tuple[int, ...]:
        """None: no later stage reads what is said about it."""
        return ()

    @property
    def parts(self) -> list[Any]:
        """All that is shown."""
        return [[self.history, self.shown, self.titles]]


def check_titles(corpus: TrainCorpus) -> None:
    """Raise NoTitles where no item has a title."""
    if not any(corpus.title(item) for item in range(corpus.n_items)):
        raise NoTitles(
            "a language model that puts candidates in order sees their titles alone, and no item of these data has "
            "one: give the reader a table of items with titles (ingest.raw joins those of a raw release to published "
            "splits), or take other data"
        )


def sampled_users(corpus: TrainCorpus, held_out: Edges, config: RerankConfig) -> list[int]:
    """The users to ask about, as they are drawn of those with a held-out item and a train item that has a title.

    Whether one is drawn before another depends on their ids and the seed alone, so that a larger sample holds a smaller
    one, whose answers are paid for already.
    """
    hashes = Draws(corpus.user_ids, corpus.item_ids, config.seed).users("rerank")
    known = (user for user in np.unique(held_out.user).tolist() if len(_titled(corpus, user)))
    return sorted(known, key=lambda user: (hashes[user], user))[: config.n_users]


def questions(
    corpus: TrainCorpus, ranked: Int32Array, users: Sequence[int], config: RerankConfig
) -> Iterator[Question]:
    """One for each of these users and each number of candidates, all those of a user together.

    ranked: (n_users, max(config.candidates) or more), the model's lists.
    """
    draws = Draws(corpus.user_ids, corpus.item_ids, config.seed)
    number = 0
    for user in users:
        rows = sample_rows(corpus, "user", _titled(corpus, user), config.max_history, config.seed)
        history = tuple(title for row in rows if (title := corpus.title(int(corpus.items[row]))))
        for n in config.candidates:
            best = ranked[user, :n]
            best = best[best != PADDING]
            shown = best[np.argsort(_drawn(draws, user, best))] if config.shuffle else best
            items = tuple(shown.tolist())
            titles = tuple(map(corpus.title, items))
            yield Question(number, user, n, tuple(best.tolist()), items, titles, history)
            number += 1


def _titled(corpus: TrainCorpus, user: int) -> Rows:
    """The user's train rows whose items have a title."""
    rows = corpus.rows_of_user(user)
    return rows[[corpus.title(int(corpus.items[row])) is not None for row in rows]] if len(rows) else rows


def _drawn(draws: Draws, user: int, items: Int32Array) -> Int64Array:
    ranks: Int64Array = draws.pairs("rerank", np.full(len(items), user), items).argsort().argsort()
    return ranks
