"""Figures against limits, by hand."""

import pytest

from rlmrec_core.config import Check, GatesConfig
from rlmrec_core.gates import Figure, judge


def verdict(figure: Figure, check: Check, before: float | None = None, **changed):
    known = {} if before is None else {figure.what: before}
    (found,) = judge([figure], GatesConfig.model_validate({figure.check: check}), known, **changed)
    return found


def users(value: float) -> Figure:
    return Figure("users", "users", value, "count")


@pytest.mark.parametrize(
    ("value", "outcome"), [(699, "stopped"), (700, "passed"), (1000, "passed"), (2000, "passed"), (2001, "stopped")]
)
def test_a_change_against_the_promoted_run(value, outcome):
    found = verdict(users(value), Check(fall=0.3, rise=1.0), 1000)
    assert found.outcome == outcome and found.before == 1000
    assert (found.reason is not None) == (outcome == "stopped")


def test_the_reason_is_one_line_that_says_what_was_allowed():
    found = verdict(users(500), Check(fall=0.3), 1000)
    assert found.reason == "users: 500, allowed is at most 30% below the promoted run's 1,000"


def test_a_first_run_has_nothing_to_be_compared_with():
    assert verdict(users(1), Check(fall=0.0, rise=0.0)).outcome == "passed"
    assert verdict(users(1), Check(least=2)).outcome == "stopped"


def test_warn_and_off():
    assert verdict(users(1), Check(action="warn", least=2)).outcome == "warned"
    off = verdict(users(1), Check(action="off", least=2))
    assert off.outcome == "off" and off.reason is None


def test_changes_only_warn_where_the_settings_changed_but_limits_stay():
    assert verdict(users(500), Check(fall=0.3), 1000, other_settings={"users"}).outcome == "warned"
    assert verdict(users(500), Check(least=600, fall=0.3), 1000, other_settings={"users"}).outcome == "stopped"


def test_chance_warns_and_certainty_stops():
    """A fall from 0.5 to below 0.4 by an interval that does not, or does, reach 0.4."""
    wide, narrow = (Figure("recall", "recall@20", 0.3, "score", 0.3 - e, 0.3 + e) for e in (0.15, 0.05))
    assert verdict(wide, Check(fall=0.2), 0.5).outcome == "warned"
    assert verdict(narrow, Check(fall=0.2), 0.5).outcome == "stopped"


@pytest.mark.parametrize(
    ("before", "outcome"), [(None, "warned"), (-0.1, "warned"), (0.02, "stopped")], ids=["first", "weak", "better"]
)
def test_worse_than_popularity_stops_only_those_who_were_better(before, outcome):
    figure = Figure("gain_over_popularity", "gain", -0.2, "score", -0.3, -0.1)
    assert verdict(figure, GatesConfig().gain_over_popularity, before).outcome == outcome


def test_nothing_has_no_shares():
    assert verdict(Figure("cost_usd", "spent", 5.0, "usd"), Check(rise=0.0), 0.0).outcome == "passed"


def test_the_worst_limit_counts():
    found = verdict(users(10), Check(least=20, fall=0.3), 1000, other_settings={"users"})
    assert found.outcome == "stopped" and "at least 20" in found.reason
