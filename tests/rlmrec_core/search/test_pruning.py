from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.search import median_thresholds, stopped_at
from rlmrec_core.search.pruning import ENOUGH

FOUR = [{0: 0.1, 3: 0.4, 6: 0.3}, {0: 0.2, 3: 0.3}, {0: 0.3, 3: 0.2, 6: 0.6}, {0: 0.0, 3: 0.5, 6: 0.5, 9: 0.7}]


def test_thresholds_by_hand():
    # Best so far at 3: .4 .3 .3 .5; at 6: .4 .3 .6 .5; at 9: .4 .3 .6 .7.
    assert median_thresholds(FOUR, 1) == ((3, 0.35), (6, 0.45), (9, 0.5))
    assert median_thresholds(FOUR, 2) == ((6, 0.45), (9, 0.5))
    assert median_thresholds(FOUR[:3], 0) == ()


def test_who_is_stopped_by_hand():
    thresholds = ((3, 0.35), (9, 0.5))
    assert stopped_at({0: 0.1, 3: 0.3, 6: 0.9}, thresholds) == 3
    assert stopped_at({0: 0.1, 3: 0.35, 6: 0.2, 9: 0.4}, thresholds) == 9
    assert stopped_at({0: 0.4, 3: 0.1, 6: 0.1}, thresholds) is None
    assert stopped_at({0: 0.1, 20: 0.4}, thresholds) == 20
    assert stopped_at({0: 0.1}, ()) is None and stopped_at({}, thresholds) is None


def reached(course, epoch):
    return max((value for known, value in course.items() if known <= epoch), default=0.0)


courses = st.lists(st.floats(0, 1), min_size=1, max_size=8).map(lambda values: dict(enumerate(values)))


@given(st.lists(courses, min_size=ENOUGH, max_size=7), courses, st.integers(0, 4))
def test_the_rule_is_what_it_says(finished, trial, spared):
    epochs = sorted({epoch for course in finished for epoch in list(course)[spared:]})
    below = [
        epoch
        for epoch in trial
        if (asked := [known for known in epochs if known <= epoch])
        and reached(trial, epoch) < median(reached(course, asked[-1]) for course in finished)
    ]
    assert stopped_at(trial, median_thresholds(finished, spared)) == min(below, default=None)


@given(st.lists(courses, min_size=ENOUGH, max_size=7), courses, st.integers(0, 8))
def test_what_comes_later_does_not_undo_a_stop(finished, trial, cut):
    thresholds = median_thresholds(finished, 0)
    whole = stopped_at(trial, thresholds)
    part = stopped_at({epoch: value for epoch, value in trial.items() if epoch < cut}, thresholds)
    assert part == (whole if whole is not None and whole < cut else None)
