import math

import pytest

from rlmrec_core.config import SearchConfig, TrainConfig
from rlmrec_core.search import Outcome, Study, Trial, space_of

START = TrainConfig().run("lightgcn", "con", 1)


def quality(trial: Trial) -> float:
    """A made-up world in which the learning rate alone matters, and 5e-3 is best."""
    return 0.5 - abs(math.log10(trial.settings.learning_rate / 5e-3)) / 4


def went(trial: Trial) -> Outcome:
    return Outcome.of({epoch: quality(trial) * (1 - 0.9**epoch) for epoch in range(0, 60, 3)}, trial.thresholds)


def searched(n_trials=24, **settings) -> Study:
    config = SearchConfig(trials=n_trials, **settings)
    study = Study(space_of(START, config), config)
    while len(study.trials) < n_trials:
        for trial in study.ask(min(config.batch, n_trials - len(study.trials))):
            study.tell(trial, went(trial))
    return study


def test_the_first_trial_is_the_start():
    study = searched(1)
    assert study.trials[0][0].settings == START
    zero = START.model_copy(update={"weight_decay": 0.0})
    assert Study(space_of(zero, SearchConfig()), SearchConfig()).ask(1)[0].settings == zero


def test_the_same_search_has_the_same_trials():
    first, second = ([trial for trial, _ in searched().trials] for _ in range(2))
    assert first == second
    assert len({trial.settings.model_id for trial in first}) == 24
    assert first[1:] != [trial for trial, _ in searched(seed=1).trials][1:]


def test_a_longer_search_begins_as_the_shorter_one():
    assert [trial for trial, _ in searched(24).trials][:12] == [trial for trial, _ in searched(12).trials]


def test_it_finds_what_is_better_and_says_what_mattered():
    study = searched()
    (trial, outcome), start = study.best, study.trials[0][1]
    assert outcome.value > start.value and outcome.state == "finished"
    assert trial.settings.learning_rate == pytest.approx(5e-3, rel=0.5)
    importance = study.importance()
    assert next(iter(importance)) == "learning_rate"
    assert sum(importance.values()) == pytest.approx(1) and importance.keys() == trial.values.keys()
    assert list(importance.values()) == sorted(importance.values(), reverse=True)


def test_bad_trials_are_stopped_by_those_before_their_batch():
    study = searched()
    assert {outcome.state for _, outcome in study.trials} == {"finished", "pruned"}
    for trial, outcome in study.trials:
        batch = trial.number // 4 * 4
        if not batch:
            assert trial.thresholds == ()
        if outcome.state == "pruned":
            full = [other.validations for _, other in study.trials[:batch] if other.state == "finished"]
            last = max(outcome.validations)
            better = [
                course for course in full if max(course[epoch] for epoch in course if epoch <= last) > outcome.value
            ]
            assert 2 * len(better) >= len(full)
    assert {outcome.state for _, outcome in searched(prune=False).trials} == {"finished"}


def test_a_trial_that_diverged_is_not_the_best_and_does_not_end_the_search():
    study = Study(space_of(START, SearchConfig()), SearchConfig())
    first, second = study.ask(2)
    study.tell(first, Outcome("diverged"))
    assert study.best is None
    study.tell(second, Outcome("finished", {0: 0.1}))
    assert study.best and study.best[0] == second
    assert study.importance() == {}
    assert len(study.ask(3)) == 3


def test_numbers_are_short():
    for trial, _ in searched(8).trials[1:]:
        assert all(
            len(f"{value:.15g}".replace(".", "").lstrip("0").split("e")[0]) <= 4 for value in trial.values.values()
        )
