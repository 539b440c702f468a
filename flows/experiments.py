"""The paper's tables and figures as a flow."""

from contextlib import nullcontext
from typing import Annotated

from prefect import State, flow
from pydantic import Field

from flows.approval import approved
from flows.engine import run_tasks
from flows.full_pipeline import end_stages, gated, run_stages
from rlmrec_core.config import EngineConfig, PipelineConfig
from rlmrec_core.experiments import RecipeName
from storage import ArtifactStore, StoreConfig
from tasks.datasets import unnoted
from tasks.gates import Gates
from tasks.stage import StageResult
from tasks.stages import Done


@flow(name="experiments", persist_result=False, on_crashed=[end_stages])
def experiments(
    config: PipelineConfig = PipelineConfig(),
    recipe: RecipeName = "table1",
    seeds: Annotated[int, Field(ge=1, le=100)] = 5,
    store: StoreConfig = StoreConfig(),
) -> State[None]:
    """Train and measure the models that a table or figure of the paper compares. Nothing that is in use changes.

    Every model is an ordinary one: found where it was trained before, and trained on where a run was killed.

    Args:
        config: Settings of every stage; the recipe names backbones, variants, seeds and grid where these are at their
            defaults.
        recipe: The table or figure.
        seeds: How many seeds, from 2023 on.
        store: Where artifacts are kept.
    """

    def work(settings: PipelineConfig, gates: Gates) -> None:
        from tasks.experiment import experiment  # loads torch, which takes seconds
        from tasks.rerank import cost_of_rerank, rerank

        artifacts = ArtifactStore.open(store)

        def run(of_arm: PipelineConfig, first: str, last: str, done: Done) -> Done:
            # Arms differ in their data: each is held against what is in use under its own settings.
            own = Gates(artifacts, of_arm)
            is_usual = all(getattr(of_arm, name) == getattr(config, name) for name in ("ingest", "prepare", "embed"))
            try:
                with nullcontext() if is_usual else unnoted():
                    made = run_stages(of_arm, store, first=first, last=last, done=done, gates=own)
            finally:
                gates.verdicts += own.verdicts
            for stage in made.keys() - done.keys():
                gates.done[stage] = [*gates.done.get(stage, ()), *made[stage]]
            return made

        def ask(of_arm: PipelineConfig, done: Done) -> StageResult:
            prepare, model = (done[stage][0].ref for stage in ("prepare", "train"))
            if cost := cost_of_rerank(of_arm.rerank, store, prepare, model):
                approved(of_arm.rerank.llm, lambda: cost)
            call = {"config": of_arm.rerank, "store": store, "prepare": prepare, "model": model}
            (answered,) = run_tasks(EngineConfig(), rerank, [call])
            gates.done["rerank"] = [answered]  # so that the run ends as Incomplete where answers are missing
            return answered

        experiment(recipe, settings, store, seeds, run, ask)

    return gated(config, store, work)
