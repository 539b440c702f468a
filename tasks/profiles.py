"""What the two profile stages share: the key, the imported profiles and the report."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pyarrow as pa

from rlmrec_core.config import ProfileConfig
from rlmrec_core.profiling import ProfileResult, prompt_digest
from storage import ArtifactRef, ArtifactStore, ArtifactWriter
from tasks import report
from tasks.stage import Stage, StageResult, relevant

Side = Literal["item", "user"]


def profile_stage(side: Side, version: int, config: ProfileConfig, inputs: Mapping[str, ArtifactRef]) -> Stage:
    """The stage that profiles one side; its key covers the text of the prompt templates."""
    settings = {**relevant(config), "prompts": prompt_digest(config, side)}
    return Stage(f"{side}_profiles", version, ("profiles",), settings, {name: ref.key for name, ref in inputs.items()})


def run_profiles(
    stage: Stage,
    artifacts: ArtifactStore,
    compute: Callable[[report.Progress], ProfileResult],
    *,
    force: bool,
) -> StageResult:
    """The profiles, with a progress bar while they are written and their cost afterwards."""

    def write(out: ArtifactWriter) -> None:
        result = compute(report.Progress(f"{stage.name}-progress", stage.name.replace("_", " ")))
        out.table("profiles", result.table)
        show_costs(stage.name, result.report)

    return stage.run(artifacts, write, force=force)


def imported_profiles(artifacts: ArtifactStore, ingest: ArtifactRef, side: Side) -> pa.Table:
    """The profiles that came with the raw data; no rows where there were none."""
    return artifacts.table(ingest, f"imported_{side}_profiles")


def show_costs(stage: str, costs: Mapping[str, Any]) -> None:
    """Calls, tokens and dollars of a stage, as a table."""
    rows = [{"what": name, "value": value} for name, value in costs.items()]
    report.show_table(f"{stage}-cost", rows, f"What {stage.replace('_', ' ')} took")
