"""Intervals against values by hand and against resampling."""

import numpy as np
import pytest

from rlmrec_core.config import EvaluateConfig
from rlmrec_core.ranking import intervals
from rlmrec_core.ranking.intervals import bootstrap, of_coverage, of_gini, of_mean, of_means
from rlmrec_core.ranking.top_k import PADDING


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


def lists(rng: np.random.Generator, n_users: int, k: int, n_items: int) -> np.ndarray:
    """Lists without an item twice, the first ones full and the others of any length."""
    found = np.array([rng.permutation(n_items)[:k] for _ in range(n_users)], np.int32)
    for row in found[2:]:
        row[rng.integers(k + 1) :] = PADDING
    return found


def gini_by_pairs(ranked: np.ndarray, n_items: int) -> float:
    times = [int((ranked == item).sum()) for item in range(n_items)]
    apart = sum(abs(one - other) for one in times for other in times) / 2
    return apart / (sum(times) * (n_items - 1))


@pytest.mark.parametrize(("n_users", "k", "n_items"), [(2, 3, 5), (3, 1, 2), (7, 4, 4), (20, 6, 9), (12, 5, 200)])
def test_gini_by_leaving_each_user_out(n_users, k, n_items):
    for seed in range(10):
        ranked = lists(np.random.default_rng(seed), n_users, k, n_items)
        without = np.array([gini_by_pairs(np.delete(ranked, user, 0), n_items) for user in range(n_users)])
        error = 1.959964 * np.sqrt((n_users - 1) / n_users * ((without - without.mean()) ** 2).sum())
        expected = gini_by_pairs(ranked, n_items)
        assert of_gini(ranked, k, n_items) == pytest.approx((expected, expected - error, expected + error))


def test_gini_of_one_list_tells_no_spread():
    assert of_gini(np.array([[0, 1]], np.int32), 2, 4) == pytest.approx([2 / 3] * 3)
    assert of_gini(np.array([[0, 1], [PADDING, PADDING]], np.int32), 2, 4) == pytest.approx([2 / 3] * 3)
    assert of_gini(np.array([[0], [0]], np.int32), 1, 1) == (0, 0, 0)


def test_gini_is_as_uncertain_as_drawing_users_anew_says():
    rng = np.random.default_rng(4)
    weights = 1 / np.arange(1, 61)
    ranked = np.array([rng.choice(60, 5, replace=False, p=weights / weights.sum()) for _ in range(400)], np.int32)
    value, low, high = of_gini(ranked, 5, 60)
    drawn = [of_gini(ranked[rng.integers(400, size=400)], 5, 60).value for _ in range(300)]
    assert (high - low) / 2 / 1.96 == pytest.approx(np.std(drawn), rel=0.2)
    assert low < value < high


@pytest.mark.parametrize("way", ["normal", "bootstrap"])
def test_a_weighted_mean_is_that_of_all_its_places(way):
    rng = np.random.default_rng(5)
    places = [rng.random(size) for size in rng.integers(0, 6, 40)]
    values = np.array([[own.mean() if len(own) else np.nan] for own in places])
    weights = np.array([[float(len(own))] for own in places])
    config = EvaluateConfig(intervals=way, bootstrap_samples=200, bootstrap_seed=7)
    ((value, low, high),) = of_means(values, config, weights)
    assert value == pytest.approx(np.concatenate(places).mean())
    if way == "bootstrap":
        draws = np.random.default_rng(7).integers(40, size=(200, 40))
        means = [np.concatenate([places[user] for user in users]).mean() for users in draws]
        assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
        return
    full = [own for own in places if len(own)]
    without = np.array([np.concatenate(full[:user] + full[user + 1 :]).mean() for user in range(len(full))])
    error = 1.959964 * np.sqrt((len(full) - 1) / len(full) * ((without - without.mean()) ** 2).sum())
    assert (low, high) == pytest.approx((value - error, value + error))


def test_weights_of_few_users():
    config, column = EvaluateConfig(), np.array([[np.nan], [2.0]])
    assert of_means(column, config, np.array([[0.0], [3.0]])) == [(2.0, 2.0, 2.0)]
    assert of_means(column, config, np.zeros((2, 1))) == [None]
    assert of_means(np.array([[1.0], [3.0]]), config, np.ones((2, 1))) == of_means(np.array([[1.0], [3.0]]), config)


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
