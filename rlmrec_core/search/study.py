"""Which settings are tried next: Optuna's sampler, asked in batches, so that the same search gives the same trials."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from rlmrec_core.config.search import SearchConfig, Value
from rlmrec_core.config.training import RunSettings
from rlmrec_core.search.pruning import Thresholds, Validations, median_thresholds, stopped_at
from rlmrec_core.search.space import Dimension, Space

State = Literal["finished", "pruned", "diverged"]


@dataclass(frozen=True)
class Outcome:
    """How a trial went.

    Attributes:
        state: finished: trained to its end; pruned: stopped below the median; diverged: a loss was no finite number.
        validations: Recall@20 by epoch, of a pruned trial up to where it was stopped.
    """

    state: State
    validations: Validations = field(default_factory=dict)

    @classmethod
    def of(cls, validations: Validations, thresholds: Thresholds) -> "Outcome":
        """Of a training, however far it went: whether some other search had it trained to its end does not matter."""
        last = stopped_at(validations, thresholds)
        if last is None:
            return cls("finished", dict(validations))
        return cls("pruned", {epoch: value for epoch, value in validations.items() if epoch <= last})

    @property
    def value(self) -> float:
        """The best Recall@20; 0 where nothing was validated."""
        return max(self.validations.values(), default=0.0)


@dataclass(frozen=True)
class Trial:
    """Settings to try.

    Attributes:
        number: From 0, the start, upwards.
        values: The values of what is varied, by dotted name.
        settings: The model with these values.
        thresholds: What it must reach by when, not to be stopped.
    """

    number: int
    values: Mapping[str, Value]
    settings: RunSettings
    thresholds: Thresholds


class Study:
    """The trials of one model: asked in batches, told of in their order.

    Everything it draws follows from the space, the seed, the sizes of the batches and what it was told.
    """

    def __init__(self, space: Space, config: SearchConfig) -> None:
        """The first trial is the start of `space`: no search ends below it."""
        self.space, self._config = space, config
        self._distributions = {one.name: _distribution(one) for one in space.dimensions}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed, multivariate=True)
        )
        self._study.enqueue_trial({one.name: _within(one) for one in space.dimensions})
        self._asked: dict[int, optuna.Trial] = {}
        self._importance: dict[str, float] | None = None
        self.trials: list[tuple[Trial, Outcome]] = []
        """Those told of, in their order."""

    def ask(self, n: int) -> list[Trial]:
        """The next `n` trials. All that were asked before must have been told of."""
        thresholds = self._thresholds()
        return [self._trial(thresholds) for _ in range(n)]

    def _trial(self, thresholds: Thresholds) -> Trial:
        drawn = self._study.ask(self._distributions)
        self._asked[drawn.number] = drawn
        values = {one.name: one.rounded(drawn.params[one.name]) for one in self.space.dimensions}
        if drawn.number == 0:
            values = {one.name: one.start for one in self.space.dimensions}
        return Trial(drawn.number, values, self.space.settings(values), thresholds)

    def _thresholds(self) -> Thresholds:
        if not self._config.prune:
            return ()
        finished = [outcome.validations for _, outcome in self.trials if outcome.state == "finished"]
        return median_thresholds(finished, self._config.prune_after)

    def tell(self, trial: Trial, outcome: Outcome) -> None:
        """Take in how a trial went."""
        asked = self._asked.pop(trial.number)
        if outcome.validations:
            asked.report(outcome.value, max(outcome.validations))
        if outcome.state == "finished":
            self._study.tell(asked, outcome.value)
        else:
            self._study.tell(asked, state=TrialState.PRUNED)
        self.trials.append((trial, outcome))
        self._importance = None

    @property
    def best(self) -> tuple[Trial, Outcome] | None:
        """The finished trial with the highest validation Recall@20, the first of several; None if none finished."""
        finished = [pair for pair in self.trials if pair[1].state == "finished"]
        return max(finished, key=lambda pair: pair[1].value, default=None)

    def importance(self) -> dict[str, float]:
        """How much of the differences between finished trials each setting accounts for (fANOVA, Hutter et al., ICML
        2014), most first; they sum to 1. Empty where too few trials, or equal ones, tell nothing.
        """
        if self._importance is None:
            self._importance = self._fanova()
        return self._importance

    def _fanova(self) -> dict[str, float]:
        values = {outcome.value for _, outcome in self.trials if outcome.state == "finished"}
        if len(values) < 3 or not self._distributions:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._config.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in sorted(found.items(), key=lambda pair: -pair[1])}


def _distribution(dimension: Dimension) -> BaseDistribution:
    span = dimension.range
    if span.choices:
        return CategoricalDistribution(span.choices)
    assert span.low is not None and span.high is not None
    if dimension.whole:
        return IntDistribution(int(span.low), int(span.high), log=span.log)
    return FloatDistribution(float(span.low), float(span.high), log=span.log)


def _within(dimension: Dimension) -> Any:
    """The value at the start, or the nearest that the range holds: one with log holds no 0."""
    if dimension.range.choices:
        return dimension.start
    assert dimension.range.low is not None
    return max(dimension.start, dimension.range.low)
