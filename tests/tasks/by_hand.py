"""The pipeline without Prefect: every stage's task called as a plain function, on a world small enough for tests."""

from prefect.states import State

from rlmrec_core.config import PipelineConfig, load_config
from storage import StoreConfig
from tasks.embed import embed
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.item_profiles import profile_items
from tasks.prepare import prepare
from tasks.recommend import recommend
from tasks.stage import StageResult
from tasks.train import runs, train
from tasks.user_profiles import profile_users

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
    """Every stage once, in order."""
    raw = done(ingest.fn(config.ingest, store))
    split = done(prepare.fn(config.prepare, store, raw.ref))
    items = done(profile_items.fn(config.item_profiles, store, raw.ref, split.ref))
    users = done(profile_users.fn(config.user_profiles, store, raw.ref, split.ref, items.ref))
    vectors = done(embed.fn(config.embed, store, raw.ref, split.ref, items.ref, users.ref))
    models = [
        done(train.fn(run, store, split.ref, vectors.ref if run.alignment else None)) for run in runs(config.train)
    ]
    metrics = done(evaluate.fn(config.evaluate, store, split.ref, [model.ref for model in models]))
    lists = done(recommend.fn(config.recommend, store, split.ref, metrics.ref))
    return [raw, split, items, users, vectors, *models, metrics, lists]


def done(returned: StageResult | State[StageResult]) -> StageResult:
    """The result, also of a hit."""
    return returned.result() if isinstance(returned, State) else returned
