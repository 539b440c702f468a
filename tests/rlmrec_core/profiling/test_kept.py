"""A profile that a refresh keeps holds nothing but what is train now, and only who changed is asked about."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.config import IngestConfig, PrepareConfig
from rlmrec_core.data import DataError, ingest, prepare
from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.profiles import Summaries
from rlmrec_core.profiling.result import ProfileRow, to_batch
from rlmrec_core.profiling.sources import Source, UserSource, item_sources, source_hash, source_parts, user_sources
from tests.rlmrec_core.data.worlds import EDITS, NO_ITEMS, drain, edited, interactions, pair_lists


class Night:
    """One refresh: profiles that repeat every word they were written from, and who was asked about."""

    def __init__(
        self,
        data: ds.Dataset,
        config: PrepareConfig,
        last: "Night | None",
        threshold: int,
        items: ds.Dataset = NO_ITEMS,
    ) -> None:
        tables = drain(prepare(data, items, config))
        corpus = TrainCorpus.build(tables["split"], tables["user_index"], tables["item_index"], items.to_table())
        self.ids = corpus.user_ids
        self.train = set(zip(self._names(corpus, "user"), self._names(corpus, "item"), strict=True))
        self.items = {source_hash(one): one for one in item_sources(corpus, max_reviews=2, seed=0)}
        about_items = table_of([written(one) for one in item_sources(corpus, max_reviews=2, seed=0)])
        summaries = Summaries(
            about_items["summarization"].combine_chunks(), about_items["source_pairs"].combine_chunks()
        )
        kept = Previous(last.profiles, last.ids, corpus.user_ids, corpus.pairs, threshold) if last else None
        self.asked, self.parts, rows = set[str](), dict[str, tuple[int, ...]](), []
        for source in user_sources(corpus, summaries, max_items=3, seed=0, item_pairs=summaries.pairs):
            name = corpus.user_ids[source.id].as_py()
            row = kept.kept(source.id, source_parts(source)) if kept else None
            if row is None:
                self.asked.add(name)
            rows.append(row or written(source))
            self.parts[name] = source_parts(source)
        self.profiles = table_of(rows)
        self.written_from = {name: row.source_parts or () for name, row in zip(self.ids.to_pylist(), rows, strict=True)}
        self.texts = {name: row.summarization or "" for name, row in zip(self.ids.to_pylist(), rows, strict=True)}
        self.item_texts = about_items["summarization"].to_pylist()

    @staticmethod
    def _names(corpus: TrainCorpus, side: str) -> list[str]:
        ids, codes = (corpus.user_ids, corpus.users) if side == "user" else (corpus.item_ids, corpus.items)
        return ids.take(pa.array(codes)).to_pylist()


def written(source: Source) -> ProfileRow:
    text = " ".join(
        [f"{one.profile} {one.review}" for one in source.interactions]
        if isinstance(source, UserSource)
        else source.reviews
    )
    parts = source_parts(source)
    return ProfileRow(source.id, "llm", "ok", text, source_parts=parts, source_pairs=source.pairs)


def table_of(rows: Sequence[ProfileRow]) -> pa.Table:
    return pa.Table.from_batches([to_batch(rows)])


def reviewed(pairs: list[tuple[str, str]]) -> ds.Dataset:
    return interactions([(user, item, 4.0, None, f"<{user}|{item}>") for user, item in pairs])


def told(text: str) -> set[tuple[str, str]]:
    """The pairs whose reviews a text holds."""
    return set(re.findall(r"<([^|<>]*)\|([^|<>]*)>", text))


@settings(max_examples=30, deadline=None)
@given(
    pair_lists(9, 6, 50),
    st.lists(EDITS, min_size=1, max_size=3),
    st.integers(1, 3),
    st.sampled_from(["global", "per_user"]),
    st.randoms(use_true_random=False),
)
def test_a_kept_profile_holds_train_text_only_and_who_changed_is_asked_about(
    pairs: list[tuple[int, int]], nights: list[Any], threshold: int, scope: Any, random: Any
) -> None:
    rows = [(f"{user}", f"{item}") for user, item in pairs]
    config = PrepareConfig(min_rating=None, k_core=1, scope=scope)
    last = Night(reviewed(rows), config, None, threshold)
    for edits in nights:
        rows = edited(rows, edits, random)
        try:
            now = Night(reviewed(rows), config, last, threshold)
        except DataError:
            return  # Nothing is left.
        for text in (*now.texts.values(), *now.item_texts):
            assert told(text) <= now.train
        for name, parts in now.parts.items():
            changed = len(set(parts) - set(last.written_from.get(name, ())))
            gone = told(last.texts.get(name, "")) - now.train
            assert (name in now.asked) == (name not in last.texts or changed >= threshold or bool(gone))
        last = now


def test_a_review_that_has_become_test_costs_its_readers_their_profiles() -> None:
    rows = [(f"{user}", f"{item}") for user in range(8) for item in range(8)]
    first = Night(reviewed(rows), PrepareConfig(k_core=1), None, 100)
    # Another seed is another split: whoever holds what is held out now is written anew, however high the threshold.
    second = Night(reviewed(rows), PrepareConfig(k_core=1, seed=1), first, 100)
    assert second.asked == {name for name, text in first.texts.items() if told(text) - second.train} != set()
    assert all(told(text) <= second.train for text in second.texts.values())


def test_one_added_interaction_of_a_real_set_asks_about_one_user(shared_data: Path) -> None:
    tables = drain(ingest(IngestConfig(reader="movielens", path=str(shared_data / "movielens-small"))).tables)
    table, items = tables["interactions"], ds.dataset(tables["items"])
    first = Night(ds.dataset(table), PrepareConfig(), None, 1, items)
    known = set(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))
    most_watched = table["item_id"].value_counts().to_pylist()
    popular = max(most_watched, key=lambda row: row["counts"])["values"]
    user = next(name for name in first.texts if (name, popular) not in known)
    row = pa.table({**table.slice(0, 1).to_pydict(), "user_id": [user], "item_id": [popular]}, schema=table.schema)
    second = Night(ds.dataset(pa.concat_tables([table, row])), PrepareConfig(), first, 1, items)
    assert second.asked <= {user}
    assert len(second.items.keys() - first.items.keys()) <= 1
