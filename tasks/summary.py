"""What a whole run tells: a page in the UI for people, and last-run.json for scripts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from rlmrec_core.config import PipelineConfig
from rlmrec_core.config.faults import settings_error
from storage import ArtifactStore, StoreConfig, StoreError
from tasks import datasets, report
from tasks.metrics import comparison, mean_over_seeds, shown_part
from tasks.stage import StageResult

LAST_RUN = "last-run.json"
Done = Mapping[str, list[StageResult]]
_TITLE = "Models, recommendations and stages of this run"
_ACCURACY = ("recall", "ndcg")


def publish(store: StoreConfig, config: PipelineConfig, done: Done) -> None:
    """Note and show what a run made that went through every stage.

    Its last-run.json is written for the data set, and at the store's root, where the last of all runs lies.
    """
    artifacts = ArtifactStore.open(store)
    run = last_run(artifacts, config, done)
    datasets.write(artifacts, config.data_name, LAST_RUN, run)
    artifacts.write_json(LAST_RUN, run)
    _remember(artifacts, config, done)
    lists = f"Every user's list: `{run['recommendations']}`"
    parts = {"How good the models are": _metric_tables(run["metrics"]), "Recommendations": lists}
    report.show_markdown(
        "summary",
        _page(parts | _stages(artifacts, done)),
        _TITLE,
    )


def show_stages(store: StoreConfig, config: PipelineConfig, done: Done) -> None:
    """Note and show what a run made that stopped before training."""
    artifacts = ArtifactStore.open(store)
    _remember(artifacts, config, done)
    report.show_markdown(
        "summary",
        _page(_stages(artifacts, done)),
        _TITLE,
    )


def _remember(artifacts: ArtifactStore, config: PipelineConfig, done: Done) -> None:
    keys = {stage: [result.ref.key for result in results] for stage, results in done.items()}
    datasets.remember(artifacts, config.data_name, keys)


def last_run(artifacts: ArtifactStore, config: PipelineConfig, done: Done) -> dict[str, Any]:
    """What scripts rely on: the stages, the metrics (mean over seeds), where the recommendations are, the settings."""
    return {
        "name": config.data_name,
        "stages": [
            {
                "stage": result.ref.stage,
                "key": result.ref.key,
                "status": result.status,
                "seconds": result.seconds,
                "rows": result.rows,
                "unfinished": result.unfinished,
                **result.labels,
            }
            for result in _all(done)
        ],
        "metrics": mean_over_seeds(artifacts.table(done["evaluate"][0].ref, "metrics")),
        "recommendations": artifacts.address(done["recommend"][0].ref, "recommendations.parquet"),
        "config": config.model_dump(mode="json"),
    }


def last_config(artifacts: ArtifactStore, name: str | None = None) -> PipelineConfig:
    """The settings of the data set's last run that went through every stage; of the last of all where it is None.

    For the sample, and where there was no run at all, the defaults do without.
    Raises StoreError if they cannot be read, or were written by a version with other settings, and UnknownDataSet if
    there was no such run of this data set.
    """
    run = datasets.read(artifacts, name, LAST_RUN) if name else artifacts.read_json(LAST_RUN)
    if run is None and name not in (None, datasets.SAMPLE):
        known = ", ".join(datasets.names(artifacts)) or "none"
        raise datasets.UnknownDataSet(
            f"{artifacts.url} has no full run of the data set {name!r} (there are: {known}): run it once as a whole"
        )
    run = run or {}
    try:
        return PipelineConfig.model_validate(run.get("config", {}) if isinstance(run, dict) else run)
    except ValidationError as error:
        faults = settings_error(error, PipelineConfig)
        raise StoreError(
            f"the settings in {LAST_RUN} in {artifacts.url} cannot be used ({faults}): run the full pipeline again"
        ) from None


def _metric_tables(metrics: Sequence[dict[str, Any]]) -> str:
    """Accuracy on the part that is shown, the best of each column in bold; then the rest."""
    if not metrics:
        return "No interaction is held out for validation or test: nothing was measured."
    part = shown_part(metrics)
    accuracy, others = (
        [metric for metric in metrics if (metric["metric"] in _ACCURACY) == wanted] for wanted in (True, False)
    )
    return "\n\n".join(
        [
            f"{part.capitalize()} metrics, mean over seeds; higher is better. Base is the recommender alone, con "
            "and gen align it with the text (RLMRec-Con, RLMRec-Gen), popularity recommends the same items to "
            "everybody, semantic ranks by the text alone.",
            _model_table(accuracy, part, bold=True),
            "### Coverage and novelty",
            "Coverage is the share of all items that appear in anybody's list. Novelty grows as the items in the lists "
            "are less popular. Neither says whether the lists are any good.",
            _model_table(others, part, bold=False),
        ]
    )


def _model_table(metrics: Iterable[dict[str, Any]], part: str, *, bold: bool) -> str:
    rows = comparison(metrics, part)
    best = {name: max(row[name] for row in rows) for name in list(rows[0])[1:]} if rows and bold else {}
    shown = [
        {"model": row["model"]} | {name: _number(row[name], best.get(name)) for name in list(row)[1:]} for row in rows
    ]
    return report.markdown_table(shown)


def _number(value: float, best: float | None) -> str:
    return f"**{value:.4f}**" if value == best else f"{value:.4f}"


def _stages(artifacts: ArtifactStore, done: Done) -> dict[str, str]:
    rows = [
        {
            "stage": result.title,
            "status": result.status,
            "seconds": f"{result.seconds:.1f}",
            "rows": result.rows,
            "MB": f"{result.bytes / 1e6:.1f}",
            "artifact": f"`{result.ref.stage}/{result.ref.key[:12]}`",
        }
        for result in _all(done)
    ]
    legend = (
        f"hit: found in the store, nothing was computed or paid. The artifacts are folders in `{artifacts.url}`; "
        "`rlmrec artifacts show KEY` tells what one holds and what it was made from."
    )
    lacking = [f"- **{result.title}**: {result.unfinished}" for result in _all(done) if result.unfinished]
    way_out = "The next run asks for these alone, and so does the deployment `retry-failed`; the rest is in use."
    incomplete = {"INCOMPLETE": "\n".join([*lacking, "", way_out])} if lacking else {}
    return incomplete | {"Stages": f"{report.markdown_table(rows)}\n\n{legend}"}


def _all(done: Done) -> Iterable[StageResult]:
    return (result for results in done.values() for result in results)


def _page(parts: Mapping[str, str]) -> str:
    return "\n\n".join(f"## {title}\n\n{body}" for title, body in parts.items())
