"""All-rank evaluation of trained models, with the baselines beside them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from rlmrec_core import tables
from rlmrec_core.config.device import settled
from rlmrec_core.config.ranking import EvaluateConfig
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.by_user import Columns, Ranked, by_user
from rlmrec_core.ranking.groups import Groups, grouped, item_groups, user_groups
from rlmrec_core.ranking.intervals import of_coverage, of_gini, of_means
from rlmrec_core.ranking.item_based import EASE, ITEM_KNN, item_based, top_k_by_items
from rlmrec_core.ranking.metrics import Float64Array, Hits, novelty
from rlmrec_core.ranking.top_k import Ranking, top_k
from rlmrec_core.split import Edges, Split
from rlmrec_core.threads import cpu_threads
from rlmrec_core.vectors import SemanticEmbeddings, Vectors, unit_rows

POPULARITY = ModelId("popularity", "popularity", 0)
SEMANTIC_ONLY = ModelId("semantic", "semantic", 0)
BASELINES = (POPULARITY, SEMANTIC_ONLY, ITEM_KNN, EASE)


def popularity(split: Split) -> Vectors:
    """The baseline that ranks items by train interactions, the lower id first among equals."""
    order = np.argsort(-split.train_popularity(), kind="stable")
    scores = np.empty((split.n_items, 1), dtype=np.float32)
    scores[order, 0] = np.arange(split.n_items, 0, -1)
    return Vectors(np.ones((split.n_users, 1), dtype=np.float32), scores)


def semantic_only(semantic: SemanticEmbeddings) -> Vectors:
    """The control that ranks by the cosine of the semantic vectors; a missing vector scores 0 with everything."""
    return Vectors(unit_rows(semantic.users), unit_rows(semantic.items))


@dataclass(frozen=True)
class Evaluation:
    """What was measured of every model.

    metrics: METRICS; by_user: schema of `tables.user_metrics_schema`; groups: GROUP_METRICS.
    """

    metrics: pa.Table
    by_user: pa.Table
    groups: pa.Table


def evaluate(
    split: Split,
    models: Mapping[ModelId, Vectors],
    config: EvaluateConfig,
    *,
    labels: Mapping[ModelId, str] | None = None,
    prepare: str = "",
) -> pa.Table:
    """The metrics of `measure` alone, a table of schema METRICS."""
    return measure(split, models, config, labels=labels, prepare=prepare).metrics


def measure(
    split: Split,
    models: Mapping[ModelId, Vectors],
    config: EvaluateConfig,
    *,
    semantic: SemanticEmbeddings | None = None,
    labels: Mapping[ModelId, str] | None = None,
    prepare: str = "",
    learnt_from: Mapping[ModelId, Split] | None = None,
    known: Split | None = None,
) -> Evaluation:
    """The metrics asked for of every model and baseline, on validation and test (RLMRec, 4.1.2).

    Every item is ranked, train items left out, for both parts alike. Users without a held-out item in a part are left
    out of it; a part without any has no rows. semantic: what diversity is measured with, which has no rows without;
    learnt_from: of the models whose train part was another, with false pairs, which are left out of their lists, too;
    known: has in train what else is left out of the lists of all others;
    labels: names for people, where several models share backbone and variant; prepare: the key of the data.
    Raises ValueError if vectors do not fit the split.
    """
    groups = Groups(user_groups(split), item_groups(split))
    unit = None if semantic is None else unit_rows(semantic.items)
    popular: dict[str, Columns] = {}
    found: dict[ModelId, _Found] = {}
    with cpu_threads(config.threads):
        # Popularity first, for the gains of the others over it; its rows stand last.
        with_popularity = {POPULARITY: popularity(split), **models}
        for model, ranking in _rankings(split, with_popularity, config, learnt_from or {}, known or split):
            ranked = Ranked(ranking.items, split.train_popularity(), unit)
            label = (labels or {}).get(model, model.label)
            own = found[model] = _Found()
            for part, held_out in (("validation", split.validation), ("test", split.test)):
                own.add((*model, label, part), _Part(split, ranked, held_out, config), groups, popular, prepare)
    ordered = [*(rows for model, rows in found.items() if model != POPULARITY), found[POPULARITY]]
    columns = next((batch.schema for own in ordered for batch in own.by_user), tables.user_metrics_schema(()))
    return Evaluation(
        _table([row for own in ordered for row in own.metrics], tables.METRICS),
        pa.Table.from_batches([batch for own in ordered for batch in own.by_user], columns),
        _table([row for own in ordered for row in own.groups], tables.GROUP_METRICS),
    )


def _rankings(
    split: Split,
    models: Mapping[ModelId, Vectors],
    config: EvaluateConfig,
    learnt_from: Mapping[ModelId, Split],
    known: Split,
) -> Iterator[tuple[ModelId, Ranking]]:
    """Everybody's list by every model, then by every baseline that ranks by weights between items."""
    k = max(config.ks)
    for model, vectors in models.items():
        yield model, top_k(learnt_from.get(model, known), *vectors, k, "train", device=settled(config.device))
    for baseline, weights in item_based(split, config):
        yield baseline, top_k_by_items(split, weights, k, known)


@dataclass(frozen=True)
class _Part:
    """One model's lists, and what of a part they are held against."""

    split: Split
    ranked: Ranked
    held_out: Edges
    config: EvaluateConfig


@dataclass(frozen=True)
class _Found:
    """The rows of one model."""

    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    by_user: list[pa.RecordBatch] = field(default_factory=list)
    groups: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, name: tuple[Any, ...], of: _Part, groups: Groups, popular: dict[str, Columns], prepare: str) -> None:
        """Measure a part. name: of the rows, the part last; popular: popularity's columns by part, noted if missing."""
        hits = of.ranked.against(of.held_out)
        if not len(hits.users):
            return
        config = of.config
        columns = by_user(of.ranked, hits, config.metrics, config.ks)
        baseline = popular.setdefault(name[-1], columns)
        self.metrics.extend((prepare, *name, *row) for row in _measures(of, hits, columns, baseline))
        self.by_user.append(_batch(name, of.split, hits, columns))
        for by, group, own in grouped(of.ranked, of.held_out, columns, groups):
            head = *name, by, group.name, group.at_least, group.at_most
            means = zip(own, of_means(_stacked(own), config), strict=True)
            n_users = len(next(iter(own.values())))
            self.groups.extend((*head, n_users, *measure, *mean) for measure, mean in means if mean)


def _measures(of: _Part, hits: Hits, columns: Columns, popular: Columns) -> Iterator[tuple[Any, ...]]:
    """Metric, k, value, its interval, and the gain over popularity with its own."""
    gains = _stacked({name: values - popular[name] for name, values in columns.items()})
    found = of_means(np.concatenate([_stacked(columns), gains], axis=1), of.config)
    means = dict(zip(columns, zip(found[: len(columns)], found[len(columns) :], strict=True), strict=True))
    lists, split, ks = of.ranked.items[hits.users], of.split, of.config.ks
    of_lists = [novelty(lists, k, of.ranked.popularity, split.n_users) for k in ks]
    bits, lengths = (np.stack(side, axis=1) for side in zip(*of_lists, strict=True))
    novel = dict(zip(ks, of_means(bits, of.config, lengths), strict=True))
    for k in ks:
        for name in of.config.metrics:
            if (name, k) in means:
                mean, gain = means[name, k]
                if mean:
                    yield name, k, *mean, *(gain or _UNTOLD)
            elif name == "coverage":
                yield name, k, *of_coverage(lists, k, split.n_items), *_UNTOLD
            elif name == "gini":
                yield name, k, *of_gini(lists, k, split.n_items), *_UNTOLD
            elif name == "novelty" and (mean := novel[k]):
                yield name, k, *mean, *_UNTOLD


_UNTOLD = (None,) * 3
"""In the place of a gain over popularity."""


def _stacked(columns: Columns) -> Float64Array:
    return np.stack(list(columns.values()), axis=1)


def _batch(name: tuple[Any, ...], split: Split, hits: Hits, columns: Columns) -> pa.RecordBatch:
    """Rows of `tables.user_metrics_schema`. name: backbone, variant, seed, settings, label, part."""
    schema = tables.user_metrics_schema([f"{metric}@{k}" for metric, k in columns])
    model = [pa.repeat(value, len(hits.users)) for value in (*name[:4], name[5])]
    n_train = np.bincount(split.train.user, minlength=split.n_users)[hits.users]
    of_user = [pa.array(values, pa.int32()) for values in (hits.users, n_train, hits.n_held_out)]
    values = [pa.array(column, from_pandas=True) for column in columns.values()]  # NaN is null
    return pa.RecordBatch.from_arrays([*model, *of_user, *values], schema=schema)


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.table([pa.array(column, of.type) for column, of in zip(columns, schema, strict=True)], schema=schema)
