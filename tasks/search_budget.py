"""How long a search may take: said before it begins, and as it goes."""

import time
from collections.abc import Sequence

from rlmrec_core.config import SearchConfig
from rlmrec_core.models import STOPPING_METRIC, EpochRecord, fit
from rlmrec_core.search import Study
from tasks.report import minutes
from tasks.train import Training


def in_words(study: Study, config: SearchConfig) -> str:
    """How many trials, over which settings."""
    names = ", ".join(one.name for one in study.space.dimensions) or "nothing"
    return f"{config.trials} trials over {names}"


def estimate(start: Training, config: SearchConfig) -> str:
    """How much training a search is that begins with this model: from what that took, or from two epochs of it."""
    known = start.artifacts.find(start.stage.name, start.stage.key)
    if known:
        seconds = start.artifacts.manifest(known).run.seconds
        told = (
            f"about {minutes(config.trials * seconds)} of training, less what was tried before: the settings at the "
            f"start took {seconds:.0f} s"
        )
    else:
        epoch, most = _speed(start)
        told = (
            f"at most {minutes(config.trials * most)} of training: {epoch:.2g} s an epoch, at most {minutes(most)} a "
            "trial; most stop far earlier"
        )
    return told + (f"; no batch begins after {config.minutes:g} minutes of it" if config.minutes is not None else "")


def so_far(study: Study, config: SearchConfig, seconds: Sequence[float]) -> str:
    """The best, how many were stopped, and what is left at the mean of what the trials took; seconds: of each."""
    left = (config.trials - len(seconds)) * sum(seconds) / len(seconds)
    if config.minutes is not None:
        left = min(left, max(60 * config.minutes - sum(seconds), 0.0))
    n_pruned = sum(outcome.state == "pruned" for _, outcome in study.trials)
    best = study.best
    told = f"best {STOPPING_METRIC} {best[1].value:.4f} in trial {best[0].number}" if best else "none finished yet"
    return f"{told}, {n_pruned} stopped early, about {minutes(left)} of training to go"


class _Enough(Exception):
    """Ends a training of which only the speed was wanted."""


def _speed(start: Training) -> tuple[float, float]:
    """Seconds that an epoch takes, and that a whole training takes at most, from two epochs of the start."""
    times: list[float] = []
    last: list[EpochRecord] = []

    def watch(record: EpochRecord) -> None:
        times.append(time.monotonic())
        last[:] = [record]
        if len(times) == 2:
            raise _Enough

    try:
        began = time.monotonic()
        fit(start.inputs(), start.settings, on_epoch=watch)
    except _Enough:
        began = times[0]
    epoch, record = times[-1] - began, last[0]
    left = record.seconds_left
    return epoch, epoch * record.max_epochs if left is None else left
