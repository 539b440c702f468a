"""What the last run about a data set did, for scripts: last-run.json, there and at the store's root."""

from typing import Any

from pydantic import ValidationError

from rlmrec_core import ranking
from rlmrec_core.config import PipelineConfig
from rlmrec_core.config.faults import settings_error
from storage import ArtifactStore, StoreError
from tasks import datasets, promotion
from tasks.datasets import LAST_RUN
from tasks.gates import Gates
from tasks.metrics import mean_over_seeds
from tasks.stages import ALL


def note(artifacts: ArtifactStore, config: PipelineConfig, gates: Gates, stopped: str | None = None) -> dict[str, Any]:
    """Write last-run.json, and put the run's artifacts to use if it may; returns what was written.

    stopped: why a gate ended the run. A run that stopped before its lists has no metrics and no recommendations.
    """
    run = _account(artifacts, config, gates)
    if not stopped and config.gates.promote:
        promotion.promote(artifacts, config.data_name, run, "passed the gates")
    verdict = "not promoted" if stopped else "promoted" if config.gates.promote else "passed"
    message = stopped or (None if config.gates.promote else "gates.promote is off: `rlmrec promote` puts it to use")
    run = {"name": config.data_name, "verdict": verdict, "message": message, **run}
    datasets.write(artifacts, config.data_name, LAST_RUN, run)
    artifacts.write_json(LAST_RUN, run)
    return run


def _account(artifacts: ArtifactStore, config: PipelineConfig, gates: Gates) -> dict[str, Any]:
    done = gates.done
    lists, metrics = (done[stage][0].ref if stage in done else None for stage in ("recommend", "evaluate"))
    return {
        "gates": gates.rows(),
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
            for stage, results in done.items()
            if not stage.endswith(ALL)  # the lists lead to them
            for result in results
        ],
        "metrics": mean_over_seeds(artifacts.table(metrics, "metrics")) if metrics else [],
        "findings": ranking.findings(artifacts.table(metrics, "significance")) if metrics else [],
        "recommendations": artifacts.address(lists, "recommendations.parquet") if lists else None,
        "config": config.model_dump(mode="json"),
    }


def last_config(artifacts: ArtifactStore, name: str | None = None) -> PipelineConfig:
    """The settings of what is in use of the data set, else of its last run; of the last run of all where it is None.

    For the sample, and where there was no run at all, the defaults do without.
    Raises StoreError if they cannot be read, or were written by a version with other settings, and UnknownDataSet if
    there was no full run of this data set.
    """
    in_use = promotion.current(artifacts, name) if name else None
    if name in (None, datasets.SAMPLE):
        run = in_use or (datasets.read(artifacts, name, LAST_RUN) if name else artifacts.read_json(LAST_RUN)) or {}
    else:
        run = in_use or datasets.last_run(artifacts, name)
    try:
        return PipelineConfig.model_validate(run.get("config", {}) if isinstance(run, dict) else run)
    except ValidationError as error:
        faults = settings_error(error, PipelineConfig)
        file = promotion.CURRENT if in_use else LAST_RUN
        raise StoreError(
            f"the settings in {file} in {artifacts.url} cannot be used ({faults}): run the full pipeline again"
        ) from None
