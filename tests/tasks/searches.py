"""A search small enough for tests."""

from typing import Any

from rlmrec_core.config import PipelineConfig
from tests.tasks.by_hand import tiny

WORLD = {"sample_users": 60, "sample_items": 80}


def settings(**search: Any) -> PipelineConfig:
    """Ten trials of Base, some of which are stopped early, with other settings of the search."""
    return tiny(
        ingest=WORLD,
        train={"variants": ["base"], "validate_every": 1, "max_epochs": 5, "learning_rate": 0.003},
        search={"trials": 10, "batch": 5, "prune_after": 1, **search},
    )
