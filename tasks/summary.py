"""What a whole run tells: a page in the UI for people, and last-run.json for scripts."""

from collections.abc import Iterable, Mapping
from typing import Any

from storage import ArtifactStore, StoreConfig
from tasks import report
from tasks.metrics import comparison, mean_over_seeds
from tasks.stage import StageResult

LAST_RUN = "last-run.json"
Done = Mapping[str, list[StageResult]]


def publish(store: StoreConfig, done: Done) -> None:
    """Write last-run.json at the store's root, and the summary of a run that went through every stage."""
    artifacts = ArtifactStore.open(store)
    run = last_run(artifacts, done)
    artifacts.write_json(LAST_RUN, run)
    parts = {
        "Metrics on test": report.markdown_table(comparison(run["metrics"], "test")),
        "Stages": _stage_table(artifacts, done),
        "Recommendations": f"`{run['recommendations']}`",
    }
    report.show_markdown("summary", _page(parts), "What this run did")


def show_stages(store: StoreConfig, done: Done) -> None:
    """The summary of a run that stopped before training."""
    page = _page({"Stages": _stage_table(ArtifactStore.open(store), done)})
    report.show_markdown("summary", page, "What this run did")


def last_run(artifacts: ArtifactStore, done: Done) -> dict[str, Any]:
    """What scripts rely on: the stages, the metrics (mean over seeds) and where the recommendations are."""
    return {
        "stages": [
            {
                "stage": result.ref.stage,
                "key": result.ref.key,
                "status": result.status,
                "seconds": result.seconds,
                "rows": result.rows,
                **result.labels,
            }
            for result in _all(done)
        ],
        "metrics": mean_over_seeds(artifacts.table(done["evaluate"][0].ref, "metrics")),
        "recommendations": artifacts.address(done["recommend"][0].ref, "recommendations.parquet"),
    }


def _stage_table(artifacts: ArtifactStore, done: Done) -> str:
    rows = [
        {
            "stage": result.title,
            "status": result.status,
            "seconds": f"{result.seconds:.1f}",
            "rows": result.rows,
            "MB": f"{artifacts.manifest(result.ref).bytes / 1e6:.1f}",
            "artifact": f"`{artifacts.address(result.ref)}`",
        }
        for result in _all(done)
    ]
    return report.markdown_table(rows)


def _all(done: Done) -> Iterable[StageResult]:
    return (result for results in done.values() for result in results)


def _page(parts: Mapping[str, str]) -> str:
    return "\n\n".join(f"## {title}\n\n{body}" for title, body in parts.items())
