"""What the lists in use of a data set give to people: their model, with the ids and titles of the data."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

import pyarrow.compute as pc

from rlmrec_core.config import RecommendConfig
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.recommender import Answer, Recommender
from rlmrec_core.ranking.top_k import known_pairs
from rlmrec_core.vectors import Vectors
from storage import ArtifactRef, ArtifactStore, StoreError
from tasks import datasets, promotion
from tasks.cold_start import NEW_ITEMS
from tasks.models import load_split, load_vectors, model_settings, titles_of
from tasks.reasons import reasons_of
from tasks.texts import NoTexts, Texts


class UnknownId(LookupError):
    """No user or item of that id is in the model: says why that may be, and which ids are near."""


class ListedItem(NamedTuple):
    """One place in a list; rank 1 is best."""

    rank: int
    item_id: str
    title: str | None
    score: float


@dataclass(frozen=True)
class Results:
    """A run's chosen model and all that its lists are made of.

    lists: the recommend artifact; reasons: the one whose reasons speak of them; config: how they were made; written:
    when, ISO 8601 in UTC; user_ids, item_ids, titles: by number; vectors: of the model that made the lists;
    recommender: answers by number.
    """

    name: str
    lists: ArtifactRef
    reasons: ArtifactRef
    config: RecommendConfig
    model: ModelId
    written: str
    user_ids: Sequence[str]
    item_ids: Sequence[str]
    titles: Sequence[str | None]
    vectors: Vectors
    recommender: Recommender

    @classmethod
    def open(cls, artifacts: ArtifactStore, name: str | None = None) -> "Results":
        """What is in use of the data set `name`, else its last run's; None means the only one in the store.

        Raises tasks.datasets.UnknownDataSet if None could mean several, StoreError if there are no lists yet.
        """
        name = datasets.chosen(artifacts, name)
        return cls.of(artifacts, name, cls.newest(artifacts, name))

    @staticmethod
    def newest(artifacts: ArtifactStore, name: str) -> Mapping[str, Sequence[str]]:
        """Keys by stage of what is in use of the data set, else of its last run. Raises StoreError without lists."""
        in_use = promotion.current(artifacts, name)
        latest = datasets.latest_keys(artifacts, name)
        keys: Mapping[str, Sequence[str]] = in_use["artifacts"] if in_use else latest
        if not keys.get("recommend"):
            known = ", ".join(datasets.names(artifacts)) or "none"
            raise StoreError(
                f"{artifacts.url} has no recommendations for the data set {name!r} (there are: {known}): run the full "
                "pipeline first"
            )
        # Another try for reasons that failed is noted without a promotion.
        return {**keys, "reasons": [*latest.get("reasons", ()), *keys.get("reasons", ())]}

    @classmethod
    def of(cls, artifacts: ArtifactStore, name: str, keys: Mapping[str, Sequence[str]]) -> "Results":
        """The results that belong to artifacts with these keys, by stage: recommend, and reasons if there are any."""
        lists = ArtifactRef("recommend", keys["recommend"][0], artifacts.url)
        manifest = artifacts.manifest(lists)
        prepare, model = (ArtifactRef(role, manifest.content.inputs[role], lists.url) for role in ("prepare", "train"))
        config = RecommendConfig.model_validate(manifest.content.config)
        split, vectors = load_split(artifacts, prepare), load_vectors(artifacts, model)
        item_ids = artifacts.table(prepare, "item_index")["item_id"]
        return cls(
            name,
            lists,
            reasons_of(artifacts, lists, keys),
            config,
            model_settings(artifacts, model).model_id,
            manifest.run.created,
            artifacts.table(prepare, "user_index")["user_id"].to_pylist(),
            item_ids.to_pylist(),
            titles_of(artifacts, prepare, item_ids).to_pylist(),
            vectors,
            Recommender(vectors, known_pairs(split, config.left_out)),
        )

    def recommend(self, user_id: str, k: int) -> list[ListedItem]:
        """The k best items of a user. Raises UnknownId."""
        return self._named(self.recommender.for_user(self.user(user_id), k))

    def new_for(self, artifacts: ArtifactStore, user_id: str, k: int) -> list[ListedItem]:
        """The k best of the items that nobody took yet, as the run listed them; see `embed.new_items`.

        Raises UnknownId, and StoreError if the run embedded no new items.
        """
        self.user(user_id)
        wanted = pc.field("user_id") == user_id
        rows = artifacts.dataset(self.lists, NEW_ITEMS).to_table(filter=wanted).to_pylist()
        if not rows:
            raise StoreError(
                "this run listed no new items: set embed.new_items, train con, gen or another model that reads text "
                "among the models, and run again"
            )
        return [ListedItem(row["rank"], row["item_id"], row["title"], row["score"]) for row in rows[:k]]

    def recommend_for(self, item_ids: Iterable[str], k: int) -> list[ListedItem]:
        """The k best items for somebody who has these. Raises UnknownId, and ValueError without an item."""
        return self._named(self.recommender.for_items([self.item(item) for item in item_ids], k))

    def recommend_for_text(self, text: str, k: int) -> list[ListedItem]:
        """The k best items for somebody who says this of themselves.

        Raises tasks.texts.NoTexts, and ValueError on a text without a word, or one that is too long.
        """
        return self._named(self.recommender.for_vector(self.texts.place(text), k))

    def similar(self, item_id: str, k: int) -> list[ListedItem]:
        """The k items most alike to one, with their cosines. Raises UnknownId."""
        return self._named(self.recommender.similar(self.item(item_id), k))

    def user(self, user_id: str) -> int:
        """A user's number. Raises UnknownId."""
        return _number(self._users, user_id, "user")

    def item(self, item_id: str) -> int:
        """An item's number. Raises UnknownId."""
        return _number(self._items, item_id, "item")

    def ready(self) -> "Results":
        """These results, with everything built that an answer needs, so that none has to wait for it."""
        _ = self._users, self._items
        with suppress(NoTexts, MissingSetting):  # told to those who ask
            _ = self.texts
        return self

    @cached_property
    def texts(self) -> Texts:
        """What places texts in the model's space. Raises NoTexts."""
        return Texts.open(self.lists)

    @cached_property
    def _users(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.user_ids)}

    @cached_property
    def _items(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.item_ids)}

    def _named(self, answer: Answer) -> list[ListedItem]:
        pairs = zip(answer.items.tolist(), answer.scores.tolist(), strict=True)
        return [
            ListedItem(rank, self.item_ids[item], self.titles[item], score)
            for rank, (item, score) in enumerate(pairs, start=1)
        ]


def _number(numbers: dict[str, int], wanted: str, kind: str) -> int:
    if wanted in numbers:
        return numbers[wanted]
    # Among more it would take so long that a service keeps others waiting.
    near = get_close_matches(wanted, numbers, 3, 0.6) if len(numbers) <= 10_000 else []
    hint = f"; near are {', '.join(map(repr, near))}" if near else ""
    raise UnknownId(
        f"no {kind} {wanted!r} is among the {len(numbers):,} that the model knows: it is not in the data, or prepare's "
        f"filters removed it{hint}"
    )
