"""The paper's tables and figures as a flow."""

from typing import Annotated

from prefect import State, flow
from pydantic import Field

from flows.full_pipeline import end_stages, gated, run_stages
from rlmrec_core.config import PipelineConfig
from rlmrec_core.experiments import RecipeName, applied
from storage import StoreConfig
from tasks.gates import Gates


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

        done = run_stages(settings, store, last="evaluate", gates=gates)
        prepare, evaluate = (done[stage][0].ref for stage in ("prepare", "evaluate"))
        experiment(recipe, store, prepare, evaluate, config.data_name)

    return gated(applied(recipe, config, seeds), store, work)
