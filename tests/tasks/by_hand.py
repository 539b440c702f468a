"""The pipeline without Prefect: every stage's task called as a plain function, on a world small enough for tests."""

from rlmrec_core.config import PipelineConfig, load_config
from storage import StoreConfig
from tasks import stages
from tasks.stage import StageResult

TINY = {
    "ingest": {"sample_users": 30, "sample_items": 24},
    "prepare": {"k_core": 2},
    "item_profiles": {"max_words": 20},
    "user_profiles": {"max_words": 20},
    "embed": {"embed_source": "title"},
    "train": {"max_epochs": 4, "embedding_size": 4, "batch_size": 64},
    "evaluate": {"ks": [5, 20]},
    "recommend": {"k": 3},
}


def tiny(**sections: dict) -> PipelineConfig:
    """Settings of the tiny world, some changed: tiny(train={"seeds": [1]})."""
    merged = {name: {**TINY.get(name, {}), **sections.get(name, {})} for name in TINY.keys() | sections.keys()}
    return load_config(overrides=merged)


def run_by_hand(config: PipelineConfig, store: StoreConfig) -> list[StageResult]:
    """Every stage that the settings need once, in order."""
    return [result for results in stages.run_by_hand(config, store).values() for result in results]
