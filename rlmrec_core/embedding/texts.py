"""Which text of an item or a user is embedded."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rlmrec_core.config.text import EmbedSource

if TYPE_CHECKING:  # it brings the clients of model servers, which no encoder of one's own needs
    from rlmrec_core.profiling.corpus import TrainCorpus

_MOST_TITLES = 30  # titles of one user's items; encoders read little more

Texts = list[str | None]


def item_texts(corpus: "TrainCorpus", profiles: Sequence[str | None], source: EmbedSource) -> Texts:
    """The text of each item, None where it has none.

    profile: its summarization. title: its title. raw: title, attributes and description as they came, or its train
    reviews where there is no description. title+profile: one after the other.
    """
    write: dict[EmbedSource, Callable[[int], Iterable[str | None]]] = {
        "profile": lambda item: [profiles[item]],
        "title": lambda item: [corpus.title(item)],
        "title+profile": lambda item: [corpus.title(item), profiles[item]],
        "raw": lambda item: _raw(corpus, item),
    }
    return [_joined(write[source](item)) for item in range(corpus.n_items)]


def user_texts(corpus: "TrainCorpus", profiles: Sequence[str | None], source: EmbedSource) -> Texts:
    """The text of each user, None where there is none.

    profile: the summarization. title: titles of train items. raw: the user's own train reviews, or those titles where
    there are none. title+profile: the profile first, since encoders cut the end.
    """
    write: dict[EmbedSource, Callable[[int], Iterable[str | None]]] = {
        "profile": lambda user: [profiles[user]],
        "title": lambda user: _titles(corpus, user),
        "title+profile": lambda user: [profiles[user], *_titles(corpus, user)],
        "raw": lambda user: _reviews(corpus, corpus.rows_of_user(user)) or _titles(corpus, user),
    }
    return [_joined(write[source](user)) for user in range(corpus.n_users)]


def _raw(corpus: "TrainCorpus", item: int) -> list[str | None]:
    facts = [f"{name}: {value}" for name, value in corpus.attributes(item)]
    description = corpus.description(item)
    told = [description] if description else _reviews(corpus, corpus.rows_of_item(item))
    return [corpus.title(item), *facts, *told]


def _reviews(corpus: "TrainCorpus", rows: Iterable[int]) -> list[str]:
    return [review for row in rows if (review := corpus.review(int(row)))]


def _titles(corpus: "TrainCorpus", user: int) -> list[str]:
    items = (int(corpus.items[row]) for row in corpus.rows_of_user(user))
    return [title for item in items if (title := corpus.title(item))][:_MOST_TITLES]


def _joined(parts: Iterable[str | None]) -> str | None:
    """The parts as sentences of one text."""
    return " ".join(part if part[-1] in ".!?…" else f"{part}." for part in parts if part) or None
