"""What a search shows people: the best settings, what mattered, the course of the search, every trial."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rlmrec_core.config.search import SearchRange
from rlmrec_core.models import STOPPING_METRIC
from rlmrec_core.reports import page
from rlmrec_core.search import Dimension, Outcome, Study, Trial
from tasks import report

PAGE = "search.html"
_NOTE = (
    "Chosen on the validation part alone: the test part was not read. The best of many trials looks a little better on "
    "validation than it is; a run with best.toml measures it on test, once."
)


def search_page(name: str, studies: Sequence[Study]) -> str:
    """The page of a search as HTML, one file that stands alone; name: of the data set."""
    title = f"{name}: search of {', '.join(_label(study) for study in studies)}"
    return page(title, {"title": title, "about": _NOTE, "models": [_model(study) for study in studies]}, "search.html")


def markdown(studies: Sequence[Study], address: str, best: str) -> str:
    """The same for the UI, with the addresses of the page and of best.toml."""
    parts = [f"`rlmrec run --config {best}`\n\nThe whole page: `{address}`\n\n{_NOTE}"]
    for study in studies:
        columns, *rows = _settings(study)
        settings = [dict(zip(columns, map(_said, row), strict=True)) for row in rows]
        picture = report.picture(_course_figure(study))
        parts.append(f"## {_label(study)}\n\n{_verdict(study)}\n\n{report.markdown_table(settings)}\n\n{picture}")
    return "\n\n".join(parts)


def _model(study: Study) -> dict[str, Any]:
    columns, *rows = _settings(study)
    return {
        "name": _label(study),
        "verdict": _verdict(study),
        "settings": {"columns": columns, "rows": rows},
        "course": [[trial.number, round(outcome.value, 5), outcome.state] for trial, outcome in study.trials],
        "trials": {
            "columns": ["trial", STOPPING_METRIC, "state", "epochs", *(_short(one.name) for one in _dimensions(study))],
            "rows": [
                [trial.number, round(outcome.value, 5), outcome.state, max(outcome.validations, default=-1) + 1]
                + [trial.values[one.name] for one in _dimensions(study)]
                for trial, outcome in study.trials
            ],
        },
    }


def _label(study: Study) -> str:
    return study.space.start.model_id.label


def _dimensions(study: Study) -> list[Dimension]:
    """What was varied, what mattered most first."""
    order = list(study.importance())
    return sorted(study.space.dimensions, key=lambda one: order.index(one.name) if one.name in order else len(order))


def _best(study: Study) -> tuple[Trial, Outcome]:
    assert study.best is not None
    return study.best


def _verdict(study: Study) -> str:
    (trial, outcome), start = _best(study), study.trials[0][1].value
    states = [outcome.state for _, outcome in study.trials]
    counts = f"{len(states)} trials, {states.count('pruned')} stopped early, {states.count('diverged')} diverged"
    if trial.number == 0:
        return f"Nothing better than the start, validation {STOPPING_METRIC} {start:.4f}, was found in {counts}."
    gain = f", {outcome.value / start - 1:+.1%}" if start else ""
    found = f"Validation {STOPPING_METRIC} {outcome.value:.4f} in trial {trial.number}; the start has {start:.4f}"
    return f"{found}{gain}. {counts}."


def _settings(study: Study) -> list[list[Any]]:
    """The names of the columns, and a row for each setting."""
    importance, best = study.importance(), _best(study)[0]
    rows = [
        [one.name, best.values[one.name], one.start, _span(one.range), importance.get(one.name)]
        for one in _dimensions(study)
    ]
    return [["setting", "best", "start", "searched", "importance"], *rows]


def _span(span: SearchRange) -> str:
    if span.choices:
        return ", ".join(map(str, span.choices))
    return f"{span.low:g} to {span.high:g}" + (", by orders of magnitude" if span.log else "")


def _said(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(name: str) -> str:
    return name.removeprefix("backbone_settings.")


def _course_figure(study: Study) -> Figure:
    figure = Figure(figsize=(8, 3), layout="tight")
    axes = figure.subplots()
    values = np.array([outcome.value for _, outcome in study.trials])
    finished = np.array([outcome.state == "finished" for _, outcome in study.trials])
    numbers = np.arange(len(values))
    axes.scatter(numbers[finished], values[finished], s=14, label="finished")
    axes.scatter(numbers[~finished], values[~finished], s=14, marker="x", color="grey", label="stopped early")
    axes.plot(np.maximum.accumulate(np.where(finished, values, 0.0)), color="black", linewidth=1, label="best so far")
    axes.set(
        xlabel="trial", title=f"validation {STOPPING_METRIC}", ylim=(max(np.percentile(values, 10) * 0.9, 0), None)
    )
    axes.legend(fontsize="small")
    return figure
