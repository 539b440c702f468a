"""The plan without a Prefect server."""

from typing import Any

from rlmrec_core.config import PipelineConfig
from storage import StoreConfig
from tasks.plan import plan
from tasks.stages import run_by_hand


def plan_by_hand(config: PipelineConfig, store: StoreConfig) -> list[dict[str, Any]]:
    """What the deployment `plan` says, computed in this process. Reads and divides the data if that was not done."""
    done = run_by_hand(config, store, last="prepare")
    raw, split = (done[stage][0].ref for stage in ("ingest", "prepare"))
    rows: list[dict[str, Any]] = plan.fn(config.item_profiles, config.user_profiles, store, raw, split)
    return rows
