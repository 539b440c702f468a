"""All-rank evaluation of trained models, with the baselines beside them: popularity, and the text alone."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from rlmrec_core import tables
from rlmrec_core.config.ranking import EvaluateConfig, MetricName
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.intervals import of_coverage, of_mean
from rlmrec_core.ranking.metrics import Float64Array, capped_recall, find_hits, ndcg, novelty, recall
from rlmrec_core.ranking.top_k import top_k
from rlmrec_core.split import Edges, Int32Array, Split
from rlmrec_core.threads import cpu_threads
from rlmrec_core.vectors import SemanticEmbeddings, Vectors, unit_rows

POPULARITY = ModelId("popularity", "popularity", 0)
SEMANTIC_ONLY = ModelId("semantic", "semantic", 0)
BASELINES = (POPULARITY, SEMANTIC_ONLY)


def popularity(split: Split) -> Vectors:
    """The baseline that ranks items by train interactions, the lower id first among equals."""
    order = np.argsort(-split.train_popularity(), kind="stable")
    scores = np.empty((split.n_items, 1), dtype=np.float32)
    scores[order, 0] = np.arange(split.n_items, 0, -1)
    return Vectors(np.ones((split.n_users, 1), dtype=np.float32), scores)


def semantic_only(semantic: SemanticEmbeddings) -> Vectors:
    """The control that ranks by the cosine of the semantic vectors; a missing vector scores 0 with everything."""
    return Vectors(unit_rows(semantic.users), unit_rows(semantic.items))


def evaluate(
    split: Split,
    models: Mapping[ModelId, Vectors],
    config: EvaluateConfig,
    *,
    labels: Mapping[ModelId, str] | None = None,
    prepare: str = "",
) -> pa.Table:
    """The metrics asked for of every model and of popularity, on validation and test (RLMRec, 4.1.2).

    Every item is ranked, train items left out, for both parts alike. Users without a held-out item in a part are left
    out of it. labels: names for people, where several models share backbone and variant; prepare: the key of the data.
    Returns a table of schema METRICS. Raises ValueError if vectors do not fit the split.
    """
    rows: list[tuple[Any, ...]] = []
    popular: _ByUser = {}
    with cpu_threads(config.threads):
        # Popularity first, for the gains of the others over it; its rows stand last.
        for model, vectors in {POPULARITY: popularity(split), **models}.items():
            ranked = top_k(split, *vectors, max(config.ks), "train", device=config.device).items
            label = (labels or {}).get(model, model.label)
            for part, held_out in (("validation", split.validation), ("test", split.test)):
                measures = _measures(split, ranked, held_out, config, popular.setdefault(part, {}))
                rows += [(prepare, *model, label, part, *measured) for measured in measures]
    own = [row for row in rows if row[1 : 1 + len(POPULARITY)] == POPULARITY]
    rows = rows[len(own) :] + own
    columns = zip(*rows, strict=True) if rows else ([] for _ in tables.METRICS)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, tables.METRICS, strict=True)],
        schema=tables.METRICS,
    )


_ByUser = dict[str, dict[tuple[str, int], Float64Array]]
"""Popularity's value for each user, by part, metric and k."""


def _measures(
    split: Split,
    ranked: Int32Array,
    held_out: Edges,
    config: EvaluateConfig,
    popular: dict[tuple[str, int], Float64Array],
) -> Iterator[tuple[Any, ...]]:
    """Metric, k, value, its interval, and the gain over popularity with its own; fills `popular` if that is empty."""
    hits = find_hits(ranked, held_out, split.n_items)
    if not len(hits.users):
        return
    lists = ranked[hits.users]
    by_user: dict[MetricName, Callable[[int], Float64Array]] = {
        "recall": lambda k: recall(hits, k),
        "ndcg": lambda k: ndcg(hits, k),
        "capped_recall": lambda k: capped_recall(hits, k),
    }
    for k in config.ks:
        for name in config.metrics:
            if name in by_user:
                values = by_user[name](k)
                gain = values - popular.setdefault((name, k), values)
                yield name, k, *of_mean(values), *of_mean(gain)
            elif name == "coverage":
                yield name, k, *of_coverage(lists, k, split.n_items), *_UNTOLD[:3]
            else:
                yield name, k, novelty(lists, k, split.train_popularity(), split.n_users), *_UNTOLD


_UNTOLD = (None,) * 5
