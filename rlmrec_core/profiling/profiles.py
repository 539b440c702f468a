"""Profiles of all items or all users, by the generator that the settings name."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlmrec_core.config.text import ProfileConfig
from rlmrec_core.profiling.corpus import SplitLeakage, TrainCorpus
from rlmrec_core.profiling.extractive import extract_items, extract_users
from rlmrec_core.profiling.imported import imported_rows
from rlmrec_core.profiling.llm import llm_rows
from rlmrec_core.profiling.rows import ProfileRow, to_table
from rlmrec_core.profiling.sampling import Side
from rlmrec_core.profiling.sources import Source, item_sources, user_sources
from rlmrec_core.tables import IMPORTED_PROFILES, PROFILES, check

Progress = Callable[[int, int], None]
_PROGRESS_STEP = 100


@dataclass(frozen=True)
class ProfileResult:
    """Profiles of one side.

    table: PROFILES, one row per item or user, by id. report: counts by status and reason, tokens, calls, seconds;
    plain JSON.
    """

    table: pa.Table
    report: dict[str, Any]


def profile_items(
    corpus: TrainCorpus, config: ProfileConfig, *, imported: pa.Table | None, ledger: Path, progress: Progress
) -> ProfileResult:
    """Write one profile per item (RLMRec, section 3.2.2, eq. 13).

    imported: IMPORTED_PROFILES that came with the data, read by the generator of that name. ledger: SQLite file that
    keeps paid answers. progress(done, total) is called now and then.
    Raises MissingSetting, TemplateError or ServerRefused before or while a model server is asked.
    """
    if config.generator == "imported":
        rows: Iterable[ProfileRow] = imported_rows(corpus.item_ids, _given(imported))
    elif config.generator == "extractive":
        rows = extract_items(corpus, max_words=config.max_words, seed=config.seed)
    else:
        sources = item_sources(corpus, max_reviews=config.max_reviews, seed=config.seed)
        return _asked(corpus, "item", sources, corpus.n_items, config, ledger, progress)
    return _collected(corpus, rows, corpus.n_items, progress)


def profile_users(
    corpus: TrainCorpus,
    item_profiles: pa.Table,
    config: ProfileConfig,
    *,
    imported: pa.Table | None,
    ledger: Path,
    progress: Progress,
) -> ProfileResult:
    """Write one profile per user from the profiles of their train items and their own reviews (section 3.2.3, eq. 14).

    item_profiles: the table of `profile_items`. Other arguments and errors as there; SplitLeakage if the item profiles
    were written from another split.
    """
    summaries = summarizations(item_profiles, corpus)
    if config.generator == "imported":
        rows: Iterable[ProfileRow] = imported_rows(corpus.user_ids, _given(imported))
    elif config.generator == "extractive":
        rows = extract_users(corpus, summaries, max_words=config.max_words, seed=config.seed)
    else:
        sources = user_sources(corpus, summaries, max_items=config.max_reviews, seed=config.seed)
        return _asked(corpus, "user", sources, corpus.n_users, config, ledger, progress)
    return _collected(corpus, rows, corpus.n_users, progress)


def summarizations(profiles: pa.Table, corpus: TrainCorpus) -> list[str | None]:
    """The summarization of each row, None where its status is not ok. Raises SplitLeakage or TableError."""
    written_from = (profiles.schema.metadata or {}).get(b"split_hash", corpus.split_hash.encode()).decode()
    if written_from != corpus.split_hash:
        raise SplitLeakage(
            f"profiles were written from split {written_from[:12]}, these interactions are split "
            f"{corpus.split_hash[:12]}: write the profiles again from this split"
        )
    table = check(profiles, PROFILES, "profiles").sort_by("id")
    pairs = zip(table["status"].to_pylist(), table["summarization"].to_pylist(), strict=True)
    return [text if status == "ok" else None for status, text in pairs]


def _given(imported: pa.Table | None) -> pa.Table:
    return IMPORTED_PROFILES.empty_table() if imported is None else imported


def _collected(corpus: TrainCorpus, rows: Iterable[ProfileRow], total: int, progress: Progress) -> ProfileResult:
    started = time.monotonic()
    table = to_table(_reporting(rows, total, progress), corpus.split_hash)
    return ProfileResult(table, _report(table, {}, started))


def _asked(
    corpus: TrainCorpus,
    side: Side,
    sources: Iterator[Source],
    total: int,
    config: ProfileConfig,
    ledger: Path,
    progress: Progress,
) -> ProfileResult:
    started = time.monotonic()
    rows, counts = llm_rows(sources, side, config, ledger, lambda done: progress(done, total))
    table = to_table(rows, corpus.split_hash)
    return ProfileResult(table, _report(table, counts, started))


def _reporting(rows: Iterable[ProfileRow], total: int, progress: Progress) -> Iterator[ProfileRow]:
    for done, row in enumerate(rows, start=1):
        yield row
        if done % _PROGRESS_STEP == 0 or done == total:
            progress(done, total)


def _report(table: pa.Table, counts: dict[str, int], started: float) -> dict[str, Any]:
    status = Counter(table["status"].to_pylist())
    reasons = Counter(reason for reason in table["error"].to_pylist() if reason)
    tokens = {name: sum(n or 0 for n in table[name].to_pylist()) for name in ("tokens_in", "tokens_out")}
    words = [len(text.split()) for text in table["summarization"].to_pylist() if text]
    return {
        "rows": table.num_rows,
        "status": dict(status),
        "reasons": dict(reasons.most_common(20)),
        "mean_words": round(sum(words) / len(words), 1) if words else 0.0,
        "tokens": tokens,
        "requests": counts,
        "seconds": round(time.monotonic() - started, 3),
    }
