"""All-rank evaluation of trained models beside the popularity baseline."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from rlmrec_core import tables
from rlmrec_core.config.training import EvaluateConfig, MetricName
from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking.baselines import POPULARITY, popularity
from rlmrec_core.ranking.metrics import capped_recall, coverage, find_hits, ndcg, novelty, recall
from rlmrec_core.ranking.top_k import top_k
from rlmrec_core.split import Edges, Int32Array, Split
from rlmrec_core.threads import cpu_threads
from rlmrec_core.vectors import Vectors


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
    with cpu_threads(config.threads):
        for model, vectors in {**models, POPULARITY: popularity(split)}.items():
            ranked = top_k(split, *vectors, max(config.ks), "train", device=config.device).items
            for part, held_out in (("validation", split.validation), ("test", split.test)):
                measures = _measures(split, ranked, held_out, config)
                label = (labels or {}).get(model, model.label)
                rows += [(prepare, *model, label, part, *measured) for measured in measures]
    columns = zip(*rows, strict=True) if rows else ([] for _ in tables.METRICS)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, tables.METRICS, strict=True)],
        schema=tables.METRICS,
    )


def _measures(
    split: Split, ranked: Int32Array, held_out: Edges, config: EvaluateConfig
) -> Iterator[tuple[str, int, float]]:
    hits = find_hits(ranked, held_out, split.n_items)
    if not len(hits.users):
        return
    lists = ranked[hits.users]
    measures: dict[MetricName, Callable[[int], float]] = {
        "recall": lambda k: float(recall(hits, k).mean()),
        "ndcg": lambda k: float(ndcg(hits, k).mean()),
        "coverage": lambda k: coverage(lists, k, split.n_items),
        "novelty": lambda k: novelty(lists, k, split.train_popularity(), split.n_users),
        "capped_recall": lambda k: float(capped_recall(hits, k).mean()),
    }
    for k in config.ks:
        for name in config.metrics:
            yield name, k, measures[name](k)
