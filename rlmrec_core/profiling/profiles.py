"""Profiles of all items or all users, by the generator that the settings name."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import cast, overload

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.canonical import digest_of
from rlmrec_core.config.text import ProfileConfig
from rlmrec_core.llm.errors import NothingUsable
from rlmrec_core.profiling.corpus import SplitLeakage, TrainCorpus
from rlmrec_core.profiling.extractive import extract_items, extract_users, item_extractor, user_extractor
from rlmrec_core.profiling.job import ProfileJob
from rlmrec_core.profiling.plan import Plan
from rlmrec_core.profiling.previous import Previous
from rlmrec_core.profiling.result import ProfileResult, ProfileRow, rows_of
from rlmrec_core.profiling.sources import ItemSource, ProfileSource, UserSource, item_sources, user_sources
from rlmrec_core.profiling.writing import Extractor
from rlmrec_core.shard import WHOLE, Shard, Workplace
from rlmrec_core.tables import IMPORTED_PROFILES, PROFILES, check

_ROWS = 256  # handed on at a time


class Summaries(Sequence[str | None]):
    """The summarization of each item or user, None where there is none; kept as Arrow keeps it, by id."""

    def __init__(self, texts: pa.Array, pairs: pa.ListArray | None = None) -> None:
        self._texts, self._pairs = texts, pairs

    def pairs(self, place: int) -> list[int]:
        """The train pairs that a summarization was written from (PROFILES.source_pairs)."""
        pairs: list[int] | None = self._pairs[place].as_py() if self._pairs is not None else None
        return pairs or []

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, place: int) -> str | None: ...
    @overload
    def __getitem__(self, place: slice) -> "Summaries": ...
    def __getitem__(self, place: int | slice) -> "str | Summaries | None":
        if isinstance(place, slice):
            return Summaries(self._texts[place], None if self._pairs is None else self._pairs[place])
        text: str | None = self._texts[place].as_py()
        return text


def profile_items(
    corpus: TrainCorpus, config: ProfileConfig, place: Workplace, imported: pa.Table | None = None
) -> ProfileResult:
    """Write one profile per item (RLMRec, section 3.2.2, eq. 13).

    Args:
        corpus: The train interactions and the items' texts.
        config: How profiles are written.
        place: The ledger, and which shard of the items to write. Its `joined` are PROFILES rows, by id.
        imported: IMPORTED_PROFILES that came with the data, read by the generator of that name.

    Raises:
        MissingSetting: A model, its key or its price is not set.
        TemplateError: The prompt templates cannot be used.
        RunStopped: A model server ended the run; raised while the result is drained.
    """
    ids = place.shard.of(corpus.n_items)
    if config.generator == "imported":
        rows: Iterable[ProfileRow] = islice(_imported_rows(corpus.item_ids, _given(imported)), ids.start, ids.stop)
    elif config.generator == "extractive":
        options = {"max_words": config.max_words, "seed": config.seed}
        rows = _completed(place.joined, ids, lambda missing: extract_items(corpus, missing, **options))
    else:
        job = _item_job(corpus, config, place.ledger, place.account, place.shard)
        return ProfileResult(job.rows(), corpus.split_hash, len(ids), place.progress, job.report)
    return ProfileResult(_chunked(rows), corpus.split_hash, len(ids), place.progress)


def profile_users(
    corpus: TrainCorpus,
    item_profiles: pa.Table,
    config: ProfileConfig,
    place: Workplace,
    imported: pa.Table | None = None,
    previous: tuple[pa.Table, pa.Table] | None = None,
) -> ProfileResult:
    """Write one profile per user from the profiles of their train items and their own reviews (section 3.2.3, eq. 14).

    Arguments and errors as in `profile_items`, and:

    Args:
        corpus: The train interactions and the items' texts.
        item_profiles: The table of `profile_items`.
        config: How profiles are written.
        place: The ledger, and which shard of the users to write.
        imported: Profiles that came with the data.
        previous: Profiles of an earlier run and the user_index they belong to; whoever changed less than
            config.refresh_threshold since keeps theirs.

    Raises:
        SplitLeakage: The item profiles were written from another split.
        NothingUsable: No item has a profile, so that a model server would be asked for nothing.
    """
    summaries, ids = summarizations(item_profiles, corpus), place.shard.of(corpus.n_users)
    if config.generator == "imported":
        rows: Iterable[ProfileRow] = islice(_imported_rows(corpus.user_ids, _given(imported)), ids.start, ids.stop)
    elif config.generator == "extractive":
        options = {"max_words": config.max_words, "seed": config.seed}
        rows = _completed(place.joined, ids, lambda missing: extract_users(corpus, summaries, missing, **options))
    else:
        if len(summaries) and not any(summaries):
            raise NothingUsable(
                "no item has a profile, so users are not asked about: see why in the report of the item profiles, "
                "and run again once they are there"
            )
        job = _user_job(corpus, summaries, config, place.ledger, place.account, previous, place.shard)
        return ProfileResult(job.rows(), corpus.split_hash, len(ids), place.progress, job.report)
    return ProfileResult(_chunked(rows), corpus.split_hash, len(ids), place.progress)


def plan_items(corpus: TrainCorpus, config: ProfileConfig, *, ledger: Path) -> Plan:
    """What `profile_items` would take. Sends nothing; needs a model's name but no key."""
    return _item_job(corpus, config, ledger, "plan").plan()


def plan_users(corpus: TrainCorpus, item_profiles: pa.Table | None, config: ProfileConfig, *, ledger: Path) -> Plan:
    """What `profile_users` would take; without item profiles, which are not written yet, all is estimated."""
    if item_profiles is not None:
        return _user_job(corpus, summarizations(item_profiles, corpus), config, ledger, "plan").plan()
    stand_in = Summaries(pa.array(["word " * (config.max_words * 3 // 4)] * corpus.n_items))
    plan = _user_job(corpus, stand_in, config, ledger, "plan").plan()
    return replace(plan, count="estimated", note="item profiles are not written yet: their length is assumed")


def _item_job(
    corpus: TrainCorpus, config: ProfileConfig, ledger: Path, account: str, shard: Shard = WHOLE
) -> ProfileJob:
    """The job of writing items' profiles with a model server."""

    def sources(ids: range | None = None) -> Iterator[ProfileSource]:
        return item_sources(corpus, ids, max_reviews=config.max_reviews, seed=config.seed)

    @cache
    def extractor() -> Callable[[ItemSource], ProfileRow]:
        return item_extractor(corpus, max_words=config.max_words, seed=config.seed)

    def stand_in(source: ProfileSource) -> ProfileRow:
        return extractor()(cast(ItemSource, source))

    own_sources = partial(sources, shard.of(corpus.n_items))
    return ProfileJob(
        sources, "item", config, ledger, account, _chosen(config, stand_in, shard), None, own_sources, shard.at_once
    )


def _user_job(
    corpus: TrainCorpus,
    summaries: Summaries,
    config: ProfileConfig,
    ledger: Path,
    account: str,
    previous: tuple[pa.Table, pa.Table] | None = None,
    shard: Shard = WHOLE,
) -> ProfileJob:
    """The job of writing users' profiles with a model server."""

    def sources(ids: range | None = None) -> Iterator[ProfileSource]:
        options = {"max_items": config.max_reviews, "seed": config.seed}
        return user_sources(corpus, summaries, ids, **options, item_pairs=summaries.pairs)

    @cache
    def extractor() -> Callable[[UserSource], ProfileRow]:
        return user_extractor(corpus, summaries, max_words=config.max_words)

    def stand_in(source: ProfileSource) -> ProfileRow:
        return extractor()(cast(UserSource, source))

    kept = _previous(previous, corpus, config.refresh_threshold) if previous else None
    own_sources = partial(sources, shard.of(corpus.n_users))
    return ProfileJob(
        sources, "user", config, ledger, account, _chosen(config, stand_in, shard), kept, own_sources, shard.at_once
    )


def summarizations(profiles: pa.Table, corpus: TrainCorpus) -> Summaries:
    """The summarization of each row, None where its status is not ok. Raises SplitLeakage or TableError."""
    written_from = (profiles.schema.metadata or {}).get(b"split_hash", corpus.split_hash.encode()).decode()
    if written_from != corpus.split_hash:
        raise SplitLeakage(
            f"profiles were written from split {written_from[:12]}, these interactions are split "
            f"{corpus.split_hash[:12]}: write the profiles again from this split"
        )
    table = check(profiles, PROFILES, "profiles").sort_by("id")
    texts = pc.if_else(pc.equal(table["status"], "ok"), table["summarization"], pa.scalar(None, pa.string()))
    return Summaries(texts.combine_chunks(), table["source_pairs"].combine_chunks())


def _chosen(
    config: ProfileConfig, extractor: Extractor[ProfileSource], shard: Shard
) -> Extractor[ProfileSource] | None:
    """What stands in for the model; who has the whole writes it, since it takes a look at all the texts."""
    return extractor if config.fallback == "extractive" and shard.total == 1 else None


def _previous(previous: tuple[pa.Table, pa.Table], corpus: TrainCorpus, threshold: int) -> Previous:
    table, index = previous
    return Previous(table, index.sort_by("user")["user_id"].combine_chunks(), corpus.user_ids, corpus.pairs, threshold)


def _imported_rows(ids: pa.Array, profiles: pa.Table) -> Iterator[ProfileRow]:
    """One row per id, in the order of `ids`; missing where `profiles` has none for it, or a blank one."""
    table = check(profiles, IMPORTED_PROFILES, "imported profiles")
    ready = {row["id"]: row for row in table.to_pylist() if row["summarization"].strip()}
    for position, name in enumerate(ids.to_pylist()):
        found = ready.get(name)
        if found is None:
            yield ProfileRow(position, "imported", "missing", error="no ready-made profile came with the data")
            continue
        text, reasoning = found["summarization"].strip(), found["reasoning"]
        digest = digest_of([text, reasoning])
        yield ProfileRow(position, "imported", "ok", text, reasoning, source_hash=digest)


def _given(imported: pa.Table | None) -> pa.Table:
    return IMPORTED_PROFILES.empty_table() if imported is None else imported


def _completed(
    joined: pa.Table | None, ids: range, extract: Callable[[list[int]], Iterator[ProfileRow]]
) -> Iterator[ProfileRow]:
    """Rows of `ids`, in their order: those that shards have made, and the others extracted."""
    if joined is None:
        return extract(list(ids))
    there = set(joined["id"].to_pylist())
    missing = [one for one in ids if one not in there]
    return merge(rows_of(joined), extract(missing) if missing else (), key=lambda row: row.id)


def _chunked(rows: Iterable[ProfileRow]) -> Iterator[list[ProfileRow]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, _ROWS)):
        yield chunk
