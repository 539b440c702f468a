"""The whole pipeline: raw data in, recommendations out."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows import stages
from flows.engine import ready
from flows.forms import fill_forms
from rlmrec_core.config import PipelineConfig
from storage import ArtifactRef, StoreConfig
from tasks import report
from tasks.prepare import has_text
from tasks.stage import StageResult
from tasks.summary import publish
from tasks.train import base_alone, reads_semantics


@flow(name="rlmrec", persist_result=False)
def rlmrec(config: PipelineConfig = PipelineConfig(), store: StoreConfig = StoreConfig(), force: bool = False) -> None:
    """Ingest, prepare, profile, embed, train, evaluate and recommend. What is in the store already is not done again.

    Args:
        config: Settings of every stage; the defaults run the embedded sample.
        store: Where artifacts are kept.
        force: Compute every stage anew.
    """
    with running(config) as settings:
        done = semantics(settings, store, force)
        done |= learning(settings, store, done, force)
    publish(store, config, done)
    with get_client(sync_client=True) as client:
        fill_forms(client, config, store)


Done = dict[str, list[StageResult]]


def semantics(config: PipelineConfig, store: StoreConfig, force: bool, previous: ArtifactRef | None = None) -> Done:
    """The stages from raw data to semantic vectors. Text is left alone where no variant reads it.

    previous: user profiles of an earlier run, kept for those who changed too little.
    """
    ingest = stages.ingest(config.ingest, store, force)
    raw = {"ingest": ingest.ref.key}
    prepare = stages.prepare(config.prepare, store, **raw, force=force)
    done = {"ingest": [ingest], "prepare": [prepare]}
    if not reads_semantics(config.train):
        return done
    if not has_text(store, ingest.ref, prepare.ref, config.embed.embed_source):
        base_alone(config.train, config.recommend.variant)
        report.log().warning("the data hold no text: Base alone is trained, without profiles and semantic vectors")
        return done
    data = raw | {"prepare": prepare.ref.key}
    items = stages.item_profiles(config.item_profiles, store, **data, force=force, engine=config.engine)
    data |= {"item_profiles": items.ref.key}
    earlier = previous.key if previous else None
    users = stages.user_profiles(
        config.user_profiles, store, **data, previous=earlier, force=force, engine=config.engine
    )
    data |= {"user_profiles": users.ref.key}
    embed = stages.embed(config.embed, store, **data, force=force, engine=config.engine)
    return done | {"item_profiles": [items], "user_profiles": [users], "embed": [embed]}


def learning(config: PipelineConfig, store: StoreConfig, done: Done, force: bool) -> Done:
    """The stages from semantic vectors to recommendations."""
    prepare = done["prepare"][0].ref.key
    embed = done["embed"][0].ref.key if "embed" in done else None
    train = config.train
    if embed is None and reads_semantics(train):
        train = base_alone(train, config.recommend.variant)
    models = stages.train(train, store, prepare, embed, force, config.engine)
    metrics = stages.evaluate(config.evaluate, store, prepare, [model.ref.key for model in models], force)
    lists = stages.recommend(config.recommend, store, prepare, metrics.ref.key, force)
    return {"train": models, "evaluate": [metrics], "recommend": [lists]}


@contextmanager
def running(config: PipelineConfig) -> Iterator[PipelineConfig]:
    """What a flow of several stages shares: quick subflows, and one cluster for all, which the settings then name."""
    with quick_subflows(), ready(config.engine) as engine:
        yield config.model_copy(update={"engine": engine})


@contextmanager
def quick_subflows() -> Iterator[None]:
    """Run subflows without heartbeats: the parent's are enough, and ending a subflow's takes a second each."""
    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
