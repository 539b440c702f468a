"""Intervals against values by hand and against resampling."""

import numpy as np
import pytest

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.ranking import intervals
from rlmrec_core.ranking.intervals import bootstrap, of_coverage, of_mean, of_means


def test_a_mean_by_hand():
    # Standard deviation 0.2582 of four values, its error half of that.
    assert of_mean(np.array([0.1, 0.3, 0.5, 0.7])) == pytest.approx(
        (0.4, 0.4 - 1.96 * 0.1291, 0.4 + 1.96 * 0.1291), abs=1e-3
    )
    assert of_mean(np.array([0.4])) == (0.4, 0.4, 0.4)


def test_coverage_by_leaving_each_user_out():
    ranked = np.array([[0, 1], [1, 2], [1, 3], [0, 3]], np.int32)
    whole, *ends = of_coverage(ranked, 2, 8)
    without = np.array([len(np.unique(np.delete(ranked, user, 0))) / 8 for user in range(4)])
    error = 1.959964 * np.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    assert whole == 0.5 and ends == pytest.approx([0.5 - error, 0.5 + error])


def test_the_interval_of_a_mean_holds_it_nineteen_times_in_twenty():
    rng = np.random.default_rng(1)
    found = [of_mean(rng.binomial(1, 0.3, 200).astype(float)) for _ in range(2000)]
    assert np.mean([low <= 0.3 <= high for _, low, high in found]) == pytest.approx(0.95, abs=0.02)


def test_the_bootstrap_draws_users_anew(monkeypatch):
    rng = np.random.default_rng(2)
    columns = rng.random((30, 3))
    columns[rng.random(30) < 0.4, 1] = np.nan
    columns[:, 2] = np.nan
    one, two, nothing = bootstrap(columns, 200, seed=7)
    draws = np.random.default_rng(7).integers(30, size=(200, 30))
    for column, found in ((0, one), (1, two)):
        means = [np.nanmean(columns[users, column]) for users in draws]
        assert found == pytest.approx((np.nanmean(columns[:, column]), *np.percentile(means, [2.5, 97.5])))
    assert nothing is None
    monkeypatch.setattr(intervals, "_CHUNK_DRAWS", 90)
    assert bootstrap(columns, 200, seed=7)[0] == pytest.approx(one)


def test_both_ways_agree_on_many_users():
    values = np.random.default_rng(3).binomial(1, 0.3, (2000, 1)).astype(float)
    config = EvaluateConfig(intervals="bootstrap", bootstrap_samples=2000)
    (drawn,), (normal,) = of_means(values, config), of_means(values, EvaluateConfig())
    assert drawn == pytest.approx(normal, abs=2e-3)
    assert of_means(np.full((3, 1), np.nan), EvaluateConfig()) == [None]
