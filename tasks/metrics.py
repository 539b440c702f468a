"""Metrics as people compare them: one line for each backbone, variant and settings."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.model_id import ModelId
from rlmrec_core.ranking import BASELINES
from rlmrec_core.tables import shown_k

_GROUP = ("prepare", "backbone", "variant", "settings", "label", "part", "metric", "k")

_VALUES = ("value", "low", "high")


def mean_over_seeds(metrics: pa.Table) -> list[dict[str, Any]]:
    """Rows of METRICS with the seeds averaged, in the order of the table, and the interval that one seed has."""
    grouped = metrics.group_by(list(_GROUP), use_threads=False)
    means = grouped.aggregate([(name, "mean") for name in _VALUES]).to_pylist()
    return [{name: row[name] for name in _GROUP} | {name: row[f"{name}_mean"] for name in _VALUES} for row in means]


def comparison(metrics: Iterable[dict[str, Any]], part: str, only: int | None = None) -> list[dict[str, Any]]:
    """One row for each model with a column for each metric of `part`, such as recall@20; those at `shown_k` first.

    only: the one length of lists to show, all if it is None.
    """
    measured = [metric for metric in metrics if metric["part"] == part and only in (None, metric["k"])]
    first = shown_k(metric["k"] for metric in measured)
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for metric in sorted(measured, key=lambda metric: metric["k"] != first):
        row = rows.setdefault((metric["label"], metric["settings"]), {"model": metric["label"]})
        row[f"{metric['metric']}@{metric['k']}"] = round(metric["value"], 4)
    return list(rows.values())


def by_group(groups: pa.Table, part: str) -> list[dict[str, Any]]:
    """One row for each group and model of GROUP_METRICS, a column for each metric, the seeds averaged."""
    names = ("by", "group", "at_least", "at_most", "label", "settings")
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    own = groups.filter(pc.field("part") == part)
    for row in own.group_by([*names, "metric", "k"], use_threads=False).aggregate([("value", "mean")]).to_pylist():
        train = f"{row['at_least']:,} to {row['at_most']:,}"
        shown = {"by": row["by"], "group": row["group"], "train interactions": train, "model": row["label"]}
        of_model = rows.setdefault(tuple(row[name] for name in names), shown)
        of_model[f"{row['metric']}@{row['k']}"] = round(row["value_mean"], 4)
    return list(rows.values())


def shown_part(metrics: Iterable[dict[str, Any]]) -> str:
    """The part whose metrics people are shown: test, or validation where there is no test part."""
    return "test" if any(metric["part"] == "test" for metric in metrics) else "validation"


def best_model(metrics: pa.Table, variant: str, trained: Sequence[ModelId] = ()) -> ModelId:
    """The trained model with the highest validation Recall@20, of any variant if `variant` is "best".

    Where 20 was not measured, the longest list that was. The first model wins a tie, and so does the first of `trained`
    where nothing was measured on validation. Raises LookupError if there is no such model.
    """
    rows = [row for row in metrics.to_pylist() if row["part"] == "validation" and row["metric"] == "recall"]
    k = shown_k(row["k"] for row in rows)
    measured = {ModelId(*(row[name] for name in ModelId._fields)): row["value"] for row in rows if row["k"] == k}
    scores = {name: value for name, value in measured.items() if name not in BASELINES} or dict.fromkeys(trained, 0.0)
    candidates = [name for name in scores if variant in ("best", name.variant)]
    if not candidates:
        variants = ", ".join(sorted({name.variant for name in scores})) or "none"
        raise LookupError(f"no model of variant {variant!r} was measured (there are: {variants}); train it first")
    return max(candidates, key=lambda name: scores[name])
