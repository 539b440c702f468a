"""Train one model: a backbone, a variant, a seed."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow.compute as pc
import safetensors.torch
from matplotlib.figure import Figure
from prefect import State, task

from rlmrec_core.config import TrainConfig
from rlmrec_core.config.registry import family_of
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.training import RunSettings
from rlmrec_core.data import DataError
from rlmrec_core.models import STOPPING_METRIC, EpochRecord, FitResult, Inputs, OnEpoch, files, fit, learnt_from
from rlmrec_core.profiling import summarizations
from rlmrec_core.tables import vectors_table
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.models import SETTINGS, WEIGHTS, check_made_of, load_semantic, load_split, started_from, starting_table
from tasks.prepare import data_size
from tasks.profiles import train_corpus
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 5
_CURVES = {"loss": "training loss", STOPPING_METRIC: f"validation {STOPPING_METRIC} (decides when to stop)"}


def runs(config: TrainConfig, prepare: ArtifactRef | None = None) -> list[RunSettings]:
    """The models that `config` asks for. prepare: the data, which the preset auto goes by."""
    return config.runs(data_size(ArtifactStore(prepare.url), prepare) if prepare and config.preset == "auto" else None)


def reads_semantics(config: TrainConfig) -> bool:
    """Whether any of the models needs semantic vectors; Base does not."""
    return any(run.reads_semantics for run in runs(config))


def base_alone(config: TrainConfig, recommended: str) -> TrainConfig:
    """The settings for data without any text, which only Base of backbones that read none can learn from.

    recommended: the variant whose lists are wanted, or "best". Raises DataError if that, or all that was to be trained,
    reads text.
    """
    alone = config.model_copy(update={"variants": ("base",)})
    textless = tuple(dict.fromkeys(run.backbone for run in runs(alone) if not run.reads_semantics))
    if "base" not in config.variants or recommended not in ("best", "base") or not textless:
        raise DataError.at(
            "the data hold no text to embed (no review, title, description, attribute or imported profile; no title "
            "where embed.embed_source is title), which con, gen and kar, alpharec, weft and cllm4rec learn from",
            "train and recommend base of another backbone (train.backbones, train.variants, recommend.variant), or "
            "name the columns that hold text (ingest.columns)",
        )
    return alone.model_copy(update={"backbones": textless})


@task(
    name="train",
    task_run_name="train {settings.backbone} {settings.variant} {settings.seed} {settings.model_id.settings}",
    **UNCACHED,
)
def train(
    settings: RunSettings,
    store: StoreConfig,
    prepare: ArtifactRef,
    embed: ArtifactRef | None = None,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """User and item vectors, weights and history. A model killed in the making goes on from its last checkpoint."""
    artifacts = ArtifactStore.open(store)
    training = Training(artifacts, settings, prepare, embed)

    def write(out: ArtifactWriter) -> None:
        narrator = Narrator(settings)
        training.write(out, narrator)
        narrator.finish()

    result = training.stage.run(artifacts, write, force=force)
    _show_curve(artifacts, result)
    return as_state(result)


@dataclass(frozen=True)
class Training:
    """One model of the stage: what its artifact is, and how it is made."""

    artifacts: ArtifactStore
    settings: RunSettings
    prepare: ArtifactRef
    embed: ArtifactRef | None

    @cached_property
    def stage(self) -> Stage:
        """The model's artifact."""
        keys = {"prepare": self.prepare.key} | ({"embed": self.embed.key} if self.embed else {}) | files(self.settings)
        if start := started_from(self.artifacts, self.settings):
            keys["start_from"] = start.key
        labels = self.settings.model_id._asdict()
        return Stage("train", VERSION, ("user_vectors", "item_vectors"), key_fields(self.settings), keys, labels)

    def inputs(self) -> Inputs:
        """What the model learns from, read from the store. Raises SplitLeakage if its vectors know more than it may."""
        if self.embed and self.settings.fit_on == "train":
            check_made_of(self.artifacts, self.embed, self.prepare)
        semantic = load_semantic(self.artifacts, self.embed) if self.embed else None
        split = load_split(self.artifacts, self.prepare)
        start = started_from(self.artifacts, self.settings)
        blind = self.settings.fit_on == "train"
        table = starting_table(self.artifacts, start, self.prepare, blind=blind) if start else None
        inputs = Inputs(learnt_from(split, self.settings), semantic, table)
        if self.embed and family_of(self.settings.backbone).reads_text:
            inputs = replace(inputs, **_texts(self.artifacts, self.embed))
        return inputs

    def write(self, out: ArtifactWriter, on_epoch: OnEpoch) -> None:
        """Train, and write the artifact; what `on_epoch` raises ends the training before anything is written."""
        checkpoint = self.artifacts.work_dir(self.stage.name, self.stage.key) / "checkpoint.safetensors"
        _write(out, self.settings, fit(self.inputs(), self.settings, checkpoint=checkpoint, on_epoch=on_epoch))


def _texts(artifacts: ArtifactStore, embed: ArtifactRef) -> dict[str, Any]:
    """The texts that the vectors' profiles were made of, and these profiles."""
    written = artifacts.manifest(embed).content.inputs
    ingest, prepare = (ArtifactRef(role, written[role], artifacts.url) for role in ("ingest", "prepare"))
    corpus = train_corpus(artifacts, ingest, prepare)
    profiles = {
        side: summarizations(artifacts.table(ArtifactRef(side, written[side], artifacts.url), "profiles"), corpus)
        for side in ("item_profiles", "user_profiles")
    }
    return {"texts": corpus, **profiles}


def _write(out: ArtifactWriter, settings: RunSettings, fitted: FitResult) -> None:
    out.earlier_seconds = fitted.earlier_seconds
    out.table("user_vectors", vectors_table(fitted.user_vectors))
    out.table("item_vectors", vectors_table(fitted.item_vectors))
    out.table("history", fitted.history)
    out.file(WEIGHTS, safetensors.torch.save(fitted.weights, dict(fitted.metadata) or None))
    out.file(SETTINGS, settings.model_dump_json().encode())


class Narrator:
    """Tells how training goes: a bar, and the best validation so far."""

    def __init__(self, settings: RunSettings, every: float = 5.0) -> None:
        """every: seconds between two lines."""
        title = " ".join(map(str, settings.model_id))
        self._progress = report.Progress(f"train-{title}-progress", f"epochs of {title}", every)
        self._best, self._done, self._left = 0.0, 0, 0

    def __call__(self, record: EpochRecord) -> None:
        self._best = record.best_value
        self._done = record.epoch + 1
        self._left = record.max_epochs - self._done
        told = [f"best validation {STOPPING_METRIC} {self._best:.4f}" if self._best >= 0 else "", record.phase]
        if not any(told):
            told = ["no validation part: fixed epochs"]
        if record.seconds_left is not None:
            told.append(f"at most {record.seconds_left / 60:.0f} minutes to go")
        self._progress(self._done, record.max_epochs, ", ".join(part for part in told if part))

    def finish(self) -> None:
        """Fill the bar of a training that stopped early."""
        if self._left:
            self._progress(
                self._done,
                self._done,
                f"stopped early, {self._left} before the limit; best {STOPPING_METRIC} {self._best:.4f}",
            )


def _show_curve(artifacts: ArtifactStore, result: StageResult) -> None:
    if not report.in_run():
        return
    history = artifacts.table(result.ref, "history")
    figure = Figure(figsize=(8, 3), layout="tight")
    curves = [name for name in _CURVES if name in history.column_names]
    for axes, name in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        known = history.filter(pc.field(name).is_valid())
        axes.plot(known["epoch"].to_numpy(), known[name].to_numpy(), marker=".")
        axes.set(xlabel="epoch", title=_CURVES[name])
    report.show_markdown(
        f"curve-{result.title}", report.picture(figure), f"{result.title}: what it learnt, epoch by epoch"
    )
