"""The plan without a Prefect server."""

from typing import Any

from prefect import State

from rlmrec_core.config import PipelineConfig
from storage import StoreConfig
from tasks.ingest import ingest
from tasks.plan import plan
from tasks.prepare import prepare
from tasks.stage import StageResult


def plan_by_hand(config: PipelineConfig, store: StoreConfig) -> list[dict[str, Any]]:
    """What the deployment `plan` says, computed in this process. Reads and divides the data if that was not done."""
    raw = _result(ingest.fn(config.ingest, store))
    split = _result(prepare.fn(config.prepare, store, raw.ref))
    return plan.fn(config.item_profiles, config.user_profiles, store, raw.ref, split.ref)


def _result(returned: StageResult | State[StageResult]) -> StageResult:
    found: StageResult = returned.result() if isinstance(returned, State) else returned  # type: ignore[assignment]
    return found
