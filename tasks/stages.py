"""The stages in their order: what each reads, what computes it, and how it may be divided among workers.

Flows, the full pipeline, the plan, the forms and the tests go by this table.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from prefect import Task
from prefect.utilities.importtools import import_object

from rlmrec_core.config import PipelineConfig, TrainConfig
from rlmrec_core.config.device import settled
from rlmrec_core.config.registry import DataSize
from rlmrec_core.device import opened
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import report
from tasks.embed import embed_stage, undisturbed, vectors_at_once
from tasks.item_profiles import item_stage
from tasks.prepare import all_interactions, data_size, has_text
from tasks.profiles import profiles_at_once
from tasks.stage import Stage, StageResult, result_of
from tasks.user_profiles import user_stage

Refs = Mapping[str, Sequence[ArtifactRef]]
"""Artifacts by the stages that made them; several where a stage makes several."""
Done = dict[str, list[StageResult]]
"""What stages made or found in a run."""
Calls = Callable[[Any, Refs], list[dict[str, Any]]]


@dataclass(frozen=True)
class Sharding:
    """How workers share one artifact of a stage.

    Attributes:
        stage: The artifact's stage, from resolved settings, the store and the inputs by name.
        at_once: How many of so many workers may be at it under these settings; 0 where it is not to be divided.
        undisturbed: Held while workers are at it.
    """

    stage: Callable[..., Stage]
    at_once: Callable[[Any, int], int]
    undisturbed: Callable[[Any, StoreConfig], AbstractContextManager[None]] = lambda config, store: nullcontext()


def _one_call(config: Any, refs: Refs) -> list[dict[str, Any]]:
    return [{"config": config, **{stage: found[0] for stage, found in refs.items()}}]


def _a_call_for_each_model(config: Any, refs: Refs) -> list[dict[str, Any]]:
    from tasks.train import runs

    prepare, semantics = refs["prepare"][0], [*refs.get("embed", ()), None][0]
    return [
        {"settings": settings, "prepare": prepare, "embed": semantics if settings.reads_semantics else None}
        for settings in runs(config, prepare)
    ]


def _one_call_with_all_models(config: Any, refs: Refs) -> list[dict[str, Any]]:
    return [{"config": config, "prepare": refs["prepare"][0], "models": list(refs["train"])}]


@dataclass(frozen=True)
class StageSpec:
    """One stage of the pipeline.

    Attributes:
        name: Of the stage, its artifacts, and the section of its settings.
        task_name: Where the task is that makes an artifact. It is imported when it is needed: torch takes seconds.
        inputs: Stages whose artifacts it reads.
        calls: The parameters of the task for each artifact, from the settings and the inputs.
        sharding: How one artifact is divided among workers; None where it is not.
        takes_engine: Whether workers may do it: shards of one artifact, or several artifacts side by side.
        for_semantics: Whether it is left out where no model reads text.
        wanted: Whether the settings ask for it.
    """

    name: str
    task_name: str
    inputs: tuple[str, ...] = ()
    calls: Calls = _one_call
    sharding: Sharding | None = None
    takes_engine: bool = False
    for_semantics: bool = False
    wanted: Callable[[PipelineConfig], bool] = lambda config: True

    @property
    def task(self) -> Task[..., Any]:
        """What makes an artifact."""
        found: Task[..., Any] = import_object(self.task_name)
        return found

    @property
    def title(self) -> str:
        """Name of the stage's flow and of its deployment."""
        return self.name.replace("_", "-")


_TEXT = ("ingest", "prepare")
_PROFILES = (*_TEXT, "item_profiles")
STAGES = (
    StageSpec("ingest", "tasks.ingest.ingest"),
    StageSpec("prepare", "tasks.prepare.prepare", ("ingest",)),
    StageSpec(
        "item_profiles", "tasks.item_profiles.profile_items", _TEXT, takes_engine=True, for_semantics=True,
        sharding=Sharding(lambda config, artifacts, **refs: item_stage(config, **refs), profiles_at_once),
    ),
    StageSpec(
        "user_profiles", "tasks.user_profiles.profile_users", _PROFILES, takes_engine=True, for_semantics=True,
        sharding=Sharding(user_stage, profiles_at_once),
    ),
    StageSpec(
        "embed", "tasks.embed.embed", (*_PROFILES, "user_profiles"), takes_engine=True, for_semantics=True,
        sharding=Sharding(lambda config, artifacts, **refs: embed_stage(config, **refs), vectors_at_once, undisturbed),
    ),
    StageSpec("train", "tasks.train.train", ("prepare", "embed"), _a_call_for_each_model, takes_engine=True),
    StageSpec("evaluate", "tasks.evaluate.evaluate", ("prepare", "train"), _one_call_with_all_models),
    StageSpec("recommend", "tasks.recommend.recommend", ("prepare", "evaluate")),
    StageSpec(
        "reasons", "tasks.reasons.write_reasons", ("recommend",),
        wanted=lambda config: config.reasons.generator == "llm",
    ),
)  # fmt: skip
STAGE = {spec.name: spec for spec in STAGES}


def between(first: str = "ingest", last: str = "reasons") -> tuple[StageSpec, ...]:
    """The stages from `first` to `last`, in their order."""
    names = list(STAGE)
    return STAGES[names.index(first) : names.index(last) + 1]


def is_wanted(spec: StageSpec, config: PipelineConfig) -> bool:
    """Whether a stage is needed: text is left alone where no model reads it."""
    return spec.wanted(config) and (not spec.for_semantics or _reads_semantics(config))


def check_devices(config: PipelineConfig) -> None:
    """Raise DeviceMissing where settings name a GPU that is not here, before anything is computed or paid."""
    here = [config.evaluate.device, config.recommend.device]
    if config.engine.kind == "local":  # the workers of a cluster have devices of their own
        here += [config.embed.device, config.train.device]
    for device in here:
        opened(settled(device))


def for_this_data(
    config: PipelineConfig, store: StoreConfig, done: Mapping[str, Sequence[StageResult]]
) -> PipelineConfig:
    """The settings; for Base alone where the prepared data hold no text. Raises DataError if Base is not wanted."""
    prepare = done["prepare"][0].ref
    train = train_for_this_data(config.train, store, prepare, config.embed.embed_source, config.recommend.variant)
    return config.model_copy(update={"train": train})


def train_for_this_data(
    config: TrainConfig, store: StoreConfig, prepare: ArtifactRef, embedded: str = "profile", recommended: str = "best"
) -> TrainConfig:
    """The same for the settings of training; embedded: EmbedConfig.embed_source, recommended: the variant wanted."""
    from tasks.train import base_alone, reads_semantics

    if not reads_semantics(config) or has_text(store, prepare, embedded):
        return config
    alone = base_alone(config, recommended)
    report.log().warning("the data hold no text: Base alone is trained, without profiles and semantic vectors")
    return alone


def hyper_parameters(config: TrainConfig, artifacts: ArtifactStore, prepare: ArtifactRef) -> str:
    """Where the models' hyper-parameters come from, in a sentence: what is a guess is called one."""
    told = f"hyper-parameters: those of the preset {config.preset}"
    if config.preset == "auto":
        told = f"hyper-parameters: {starting_values(data_size(artifacts, prepare))}"
    own = [f"{backbone} {variant}" for backbone, variants in config.per_model.items() for variant in variants]
    return f"{told}; of {', '.join(own)} those of train.per_model" if own else told


def starting_values(size: DataSize) -> str:
    """What the preset auto chose, and from what."""
    return (
        f"starting values for {size.n_users:,} users and {size.n_items:,} items with {size.per_node:.1f} interactions "
        "of train each on average, not chosen on these data; `rlmrec search` looks for better ones"
    )


def _reads_semantics(config: PipelineConfig) -> bool:
    from tasks.train import reads_semantics  # loads torch, which takes seconds

    return reads_semantics(config.train)


def inputs_of(spec: StageSpec, done: Mapping[str, Sequence[StageResult]]) -> dict[str, list[ArtifactRef]]:
    """What a stage reads, as far as it was made or found."""
    return {stage: [result.ref for result in done[stage]] for stage in spec.inputs if stage in done}


ALL = "/all"
"""Behind a stage's name in what a run has done: made of all interactions."""
REBUILT = ("item_profiles", "user_profiles", "embed")
"""What is made once more where `recommend.profiles` says so."""


def rebuilds(config: PipelineConfig, store: StoreConfig, done: Mapping[str, Sequence[StageResult]]) -> bool:
    """Whether profiles and vectors are to be made once more: the settings ask for it, and the chosen model reads them.

    done: up to evaluate.
    """
    if not config.recommend.rebuilds:
        return False
    from tasks.recommend import chosen_model  # loads torch, which takes seconds

    artifacts = ArtifactStore.open(store)
    _, model = chosen_model(artifacts, done["evaluate"][0].ref, config.recommend.variant)
    return "embed" in artifacts.manifest(model).content.inputs


def inputs_of_all(spec: StageSpec, done: Mapping[str, Sequence[StageResult]]) -> dict[str, list[ArtifactRef]]:
    """What a stage reads to be made of all interactions."""
    return inputs_of(spec, {stage: done.get(f"{stage}{ALL}", results) for stage, results in done.items()})


def run_by_hand(
    config: PipelineConfig,
    store: StoreConfig,
    last: str = "reasons",
    *,
    first: str = "ingest",
    done: Mapping[str, list[StageResult]] | None = None,
) -> Done:
    """The stages from `first` to `last`, on what is done, in this process and without a Prefect server."""
    done = dict(done or {})
    for spec in between(first, last):
        if not is_wanted(spec, config):
            continue
        calls = spec.calls(getattr(config, spec.name), inputs_of(spec, done))
        if spec.name == "recommend" and rebuilds(config, store, done):
            done[f"prepare{ALL}"] = [all_interactions(store, done["prepare"][0].ref)]
            for again in (STAGE[name] for name in REBUILT):
                (call,) = again.calls(getattr(config, again.name), inputs_of_all(again, done))
                done[again.name + ALL] = [result_of(again.task.fn(store=store, **call))]
            calls = [call | {"embed": done[f"embed{ALL}"][0].ref} for call in calls]
        done[spec.name] = [result_of(spec.task.fn(store=store, **call)) for call in calls]
        if spec.name == "prepare" and last != "prepare":
            config = for_this_data(config, store, done)
    return done
