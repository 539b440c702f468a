"""Settings for experiments that take seconds."""

from rlmrec_core.config import PipelineConfig
from tests.tasks.by_hand import tiny


def small(**train: object) -> PipelineConfig:
    """The sample cut down so far that every recipe finds something in it, and so that all models are small."""
    sections = {
        "ingest": {"sample_users": 40, "sample_items": 24},
        "prepare": {"k_core": 1},
    }
    return tiny(train={"backbones": ["gccf"], "max_epochs": 3, **train}, **sections)
