"""What seeds and users say together: mean, spread, and whether a variant differs from Base."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core import tables
from rlmrec_core.model_id import ModelId

BASE = "base"
METRICS_TESTED = ("recall", "ndcg")
Name = TypeVar("Name")
_Group = tuple[str, str, str, str, str, int]
"""Backbone, variant, settings, label, metric, k."""


def significance(
    metrics: pa.Table,
    part: str = "test",
    *,
    bases: Mapping[tuple[str, str, str], ModelId | None] | None = None,
    by_user: pa.Table | None = None,
) -> pa.Table:
    """Each model's mean and standard deviation over its seeds, and tests of each variant against Base.

    Recall and NDCG of `part`; pairs are runs of one backbone with the same seed. A paired t-test over seeds asks
    whether another training would show the same; Wilcoxon's signed-rank test over users, of their means over the shared
    seeds, whether other users would (Smucker et al., CIKM 2007), and where one seed is shared a paired bootstrap over
    users tells how large the gain may be (Efron & Tibshirani, 1993, chapter 13). The fields with `_holm` correct for
    all the variants compared at one metric and k (Holm, 1979). Fields that need two seeds, a Base, or users who differ,
    are null without them.

    Args:
        metrics: METRICS.
        part: The part whose metrics are tested.
        bases: The Base to compare with, of whatever seed, by backbone, variant and settings; without it the
            backbone's first.
        by_user: Schema of `tables.user_metrics_schema`; without it there is no test over users.

    Returns:
        SIGNIFICANCE.
    """
    runs = _by_seed(metrics, part)
    firsts: dict[str, ModelId] = {}
    for group in runs:
        if group[1] == BASE:
            firsts.setdefault(group[0], ModelId(group[0], BASE, 0, group[2]))
    chosen = {group: (bases or {}).get(group[:3], firsts.get(group[0])) for group in runs}
    of_model = {(*group[:3], *group[4:]): values for group, values in runs.items()}
    compared = {group: of_model.get((*_triple(base), *group[4:]), {}) if base else {} for group, base in chosen.items()}
    over_seeds = {group: _over_seeds(values, compared[group]) for group, values in runs.items()}
    corrected = _holm_by_metric({group: test.p for group, test in over_seeds.items()})
    of_users = _over_users(by_user, part) if by_user is not None else {}
    pairs = {group: _pairs(group, chosen[group], runs, of_users) for group in runs}
    over_users = {group: wilcoxon(of_group) for group, of_group in pairs.items()}
    wilcoxon_corrected = _holm_by_metric(over_users)
    drawn = {group: bootstrap(*of_group[0]) if len(of_group) == 1 else _Test() for group, of_group in pairs.items()}
    drawn_corrected = _holm_by_metric({group: test.p for group, test in drawn.items()})
    names = {group[:3]: group[3] for group in runs}
    rows = []
    for group, values in runs.items():
        base, interval = chosen[group], over_seeds[group] if len(pairs[group]) != 1 else drawn[group]
        rows.append(
            (
                *group[:4],
                base.settings if base else None,
                names.get(_triple(base)) if base else None,
                *group[4:],
                *_summary(values),
                _gain(values, compared[group]),
                interval.low,
                interval.high,
                len(pairs[group][0][0]) if pairs[group] else None,
                over_seeds[group].p,
                corrected.get(group),
                drawn[group].p,
                drawn_corrected.get(group),
                over_users[group],
                wilcoxon_corrected.get(group),
            )
        )
    schema = tables.SIGNIFICANCE
    columns = zip(*rows, strict=True) if rows else ([] for _ in schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's step-down correction: the i-th smallest of m times m - i + 1, never below an earlier one, at most 1."""
    corrected: dict[Name, float] = {}
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


class _Test(NamedTuple):
    """p, and the ends of the gain's 95 % interval; None where there is nothing to test."""

    p: float | None = None
    low: float | None = None
    high: float | None = None


def _over_seeds(values: Mapping[int, float], base: Mapping[int, float]) -> _Test:
    """The t-test; its interval takes the mean of Base as it is."""
    seeds = sorted(values.keys() & base.keys())
    differences = np.array([values[seed] - base[seed] for seed in seeds])
    # Base against itself, a single seed, or the same difference every time: there is nothing to test.
    if len(seeds) < 2 or np.ptp(differences) == 0:
        return _Test()
    from scipy import stats  # takes a second to load, and only tests need it

    result = stats.ttest_1samp(differences, 0)
    p, reference = float(result.pvalue), sum(base[seed] for seed in seeds) / len(seeds)
    if not math.isfinite(p):
        return _Test()
    if not reference:
        return _Test(p)
    interval = result.confidence_interval(0.95)
    return _Test(p, float(interval.low) / reference, float(interval.high) / reference)


_Values = npt.NDArray[np.floating]
_RESAMPLES = 10_000
_GROUPS = 2_000
"""More users than these are resampled in as many random groups, which leaves the spread of the mean as it is."""


def bootstrap(values: _Values, base: _Values, *, seed: int = 2023) -> _Test:
    """Resample users with what both models reached for them: p is twice the share of resamples whose mean difference
    lies on the other side of zero, or at it; and the percentile interval of the relative gain.

    values, base: (n,), of the same users. Nothing is told where no user differs, or there is one.
    """
    if len(values) < 2 or np.array_equal(values, base):
        return _Test()
    rng = np.random.default_rng(seed)
    pairs = np.column_stack([values - base, base]).astype(np.float64)
    if len(pairs) > _GROUPS:
        pairs = np.add.reduceat(rng.permutation(pairs), np.arange(_GROUPS) * len(pairs) // _GROUPS)
    difference, reference = np.concatenate([_resampled(pairs, rng) for _ in range(_RESAMPLES // 100)]).T
    beyond = min(int((difference <= 0).sum()), int((difference >= 0).sum()))
    p = min(1.0, 2 * (beyond + 1) / (_RESAMPLES + 1))
    gains = difference[reference > 0] / reference[reference > 0]
    if not len(gains):
        return _Test(p)
    low, high = np.quantile(gains, [0.025, 0.975])
    return _Test(p, float(low), float(high))


def _resampled(pairs: _Values, rng: np.random.Generator) -> _Values:
    """The sums of 100 resamples, (100, 2)."""
    drawn = rng.integers(len(pairs), size=(100, len(pairs)), dtype=np.int32)
    # How often each user was drawn, times the values: one product instead of 100 gathered copies.
    drawn += np.arange(100, dtype=np.int32)[:, None] * len(pairs)
    counts = np.bincount(drawn.ravel(), minlength=100 * len(pairs)).reshape(100, -1)
    sums: _Values = counts.astype(np.float64) @ pairs
    return sums


def _triple(model: ModelId) -> tuple[str, str, str]:
    return model.backbone, model.variant, model.settings


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


_Pair = tuple[_Values, _Values]
"""What a model and its Base reached for the same users, (n,) each."""


def _pairs(
    group: _Group, base: ModelId | None, runs: Mapping[_Group, Mapping[int, float]], of_users: _OfUsers
) -> list[_Pair]:
    """One for each seed that both have."""
    own, name = group[:3], f"{group[4]}@{group[5]}"
    if base is None or _triple(base) == own:
        return []
    shared = [seed for seed in runs[group] if {(*own, seed), (*_triple(base), seed)} <= of_users.keys()]
    models = [(of_users[*own, seed], of_users[*_triple(base), seed]) for seed in shared]
    return [(values[name].to_numpy(), reference[name].to_numpy()) for values, reference in models]


def wilcoxon(pairs: Sequence[_Pair]) -> float | None:
    """p of Wilcoxon's signed-rank test over users, of the mean difference over all pairs; None where nobody differs."""
    if not pairs:
        return None
    differences = np.mean([own - reference for own, reference in pairs], axis=0)
    if not differences.any():
        return None
    from scipy import stats

    return float(stats.wilcoxon(differences, zero_method="wilcox").pvalue)


def _holm_by_metric(p_values: Mapping[_Group, float | None]) -> dict[_Group, float]:
    corrected: dict[_Group, float] = {}
    for family in {group[4:] for group in p_values}:
        corrected |= holm({group: p for group, p in p_values.items() if p is not None and group[4:] == family})
    return corrected
