"""What several seeds say together: mean, spread, and whether a variant differs from Base."""

import math
from collections.abc import Mapping
from functools import reduce
from operator import and_

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from rlmrec_core import tables

BASE = "base"
METRICS_TESTED = ("recall", "ndcg")
_Group = tuple[str, str, str, str, str, int]
"""Backbone, variant, settings, label, metric, k."""


def significance(
    metrics: pa.Table,
    part: str = "test",
    *,
    bases: Mapping[tuple[str, str, str], str | None] | None = None,
    by_user: pa.Table | None = None,
) -> pa.Table:
    """Each model's mean and standard deviation over its seeds, and tests of each variant against Base.

    Recall and NDCG of `part`; pairs are runs of one backbone with the same seed. A paired t-test over seeds asks
    whether another training would show the same; Wilcoxon's signed-rank test over users, of their means over the shared
    seeds, whether other users would (Smucker et al., CIKM 2007). The fields with `_holm` correct for all the variants
    compared at one metric and k (Holm, 1979). Fields that need two seeds, a Base, or users who differ, are null without
    them.

    Args:
        metrics: METRICS.
        part: The part whose metrics are tested.
        bases: The settings of the Base to compare with, by backbone, variant and settings; without it the backbone's
            first.
        by_user: Schema of `tables.user_metrics_schema`; without it there is no test over users.

    Returns:
        SIGNIFICANCE.
    """
    runs = _by_seed(metrics, part)
    firsts: dict[str, str] = {}
    for group in runs:
        if group[1] == BASE:
            firsts.setdefault(group[0], group[2])
    chosen = {group: (bases or {}).get(group[:3], firsts.get(group[0])) for group in runs}
    of_base = {(*group[:3], *group[4:]): values for group, values in runs.items()}
    compared = {group: of_base.get((group[0], BASE, base or "", *group[4:]), {}) for group, base in chosen.items()}
    p_values = {group: _paired_p(values, compared[group]) for group, values in runs.items()}
    corrected = _holm_by_metric(p_values)
    of_users = _over_users(by_user, part) if by_user is not None else {}
    over_users = {group: _wilcoxon(group, chosen[group], runs, of_users) for group in runs}
    users_corrected = _holm_by_metric(over_users)
    rows = [
        (
            *group[:4],
            chosen[group],
            *group[4:],
            *_summary(values),
            _gain(values, compared[group]),
            p_values[group],
            corrected.get(group),
            over_users[group],
            users_corrected.get(group),
        )
        for group, values in runs.items()
    ]
    schema = tables.SIGNIFICANCE
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def holm(p_values: Mapping[_Group, float]) -> dict[_Group, float]:
    """Holm's step-down correction: the i-th smallest of m times m - i + 1, never below an earlier one, at most 1."""
    corrected: dict[_Group, float] = {}
    least = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        least = max(least, min(1.0, (len(p_values) - place) * p))
        corrected[name] = least
    return corrected


def _by_seed(metrics: pa.Table, part: str) -> dict[_Group, dict[int, float]]:
    runs: dict[_Group, dict[int, float]] = {}
    for row in metrics.to_pylist():
        if row["part"] == part and row["metric"] in METRICS_TESTED:
            group = row["backbone"], row["variant"], row["settings"], row["label"], row["metric"], row["k"]
            runs.setdefault(group, {})[row["seed"]] = row["value"]
    return runs


def _summary(values: Mapping[int, float]) -> tuple[int, float, float | None]:
    found = np.array(list(values.values()))
    return len(found), float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else None


def _gain(values: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    seeds = values.keys() & base.keys()
    reference = sum(base[seed] for seed in seeds)
    return sum(values[seed] for seed in seeds) / reference - 1 if reference else None


def _paired_p(values: Mapping[int, float], base: Mapping[int, float]) -> float | None:
    seeds = sorted(values.keys() & base.keys())
    differences = np.array([values[seed] - base[seed] for seed in seeds])
    # Base against itself, a single seed, or the same difference every time: there is nothing to test.
    if len(seeds) < 2 or np.ptp(differences) == 0:
        return None
    p = float(stats.ttest_1samp(differences, 0).pvalue)
    return p if math.isfinite(p) else None


_OfUsers = dict[tuple[str, str, str, int], pa.Table]
"""The values of a model's users by backbone, variant, settings and seed."""


def _over_users(by_user: pa.Table, part: str) -> _OfUsers:
    names = ("backbone", "variant", "settings", "seed")
    own = by_user.filter(pc.field("part") == part)
    found: _OfUsers = {}
    for model in own.select(names).group_by(list(names), use_threads=False).aggregate([]).to_pylist():
        chosen = [pc.field(name) == model[name] for name in names]
        found[tuple(model[name] for name in names)] = own.filter(reduce(and_, chosen))
    return found


def _wilcoxon(
    group: _Group, base: str | None, runs: Mapping[_Group, Mapping[int, float]], of_users: _OfUsers
) -> float | None:
    backbone, variant, settings, _, metric, k = group
    if base is None or (variant, settings) == (BASE, base):
        return None
    pairs = [
        (of_users[backbone, variant, settings, seed], of_users[backbone, BASE, base, seed])
        for seed in runs[group]
        if {(backbone, variant, settings, seed), (backbone, BASE, base, seed)} <= of_users.keys()
    ]
    if not pairs:
        return None
    name = f"{metric}@{k}"
    differences = np.mean([own[name].to_numpy() - reference[name].to_numpy() for own, reference in pairs], axis=0)
    if not differences.any():
        return None
    return float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)


def _holm_by_metric(p_values: Mapping[_Group, float | None]) -> dict[_Group, float]:
    corrected: dict[_Group, float] = {}
    for family in {group[4:] for group in p_values}:
        corrected |= holm({group: p for group, p in p_values.items() if p is not None and group[4:] == family})
    return corrected
