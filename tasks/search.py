"""The search for hyper-parameters: each model of the section train by itself, on the validation part alone."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config import PipelineConfig, SearchConfig, TrainConfig, config_toml
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.training import RunSettings
from rlmrec_core.data import DataError
from rlmrec_core.models import STOPPING_METRIC
from rlmrec_core.search import Outcome, Study, Trial, space_of
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig, StoreError
from tasks import datasets, report
from tasks.search_budget import estimate, in_words, so_far
from tasks.search_page import PAGE, markdown, search_page
from tasks.stage import Stage, StageResult, result_of
from tasks.train import Training, runs
from tasks.trial import outcome_of
from tasks.trial import trial as trial_task

VERSION = 2
BEST, LAST_SEARCH = "best.toml", "last-search.json"
_PARAMETERS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))

RunTrials = Callable[[list[dict[str, Any]]], list[StageResult]]
"""Has the task `trial` done with each of these parameters; the results in their order."""


@dataclass(frozen=True)
class Searched:
    """A model's study, and the artifacts of its trials in their order."""

    study: Study
    artifacts: list[ArtifactRef] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Backbone and variant."""
        return self.study.space.start.model_id.label


def search(
    config: PipelineConfig,
    store: StoreConfig,
    prepare: ArtifactRef,
    embed: ArtifactRef | None,
    run_trials: RunTrials,
) -> StageResult:
    """Search the settings of every model of `config.train`; the artifact holds the trials, a page, and best.toml.

    config: as it is for these data (`for_this_data`). The test part is not looked at, and what was tried before is
    found. Raises SettingsError if a setting to search is none, DataError without a validation part.
    """
    artifacts = ArtifactStore.open(store)
    _check_validation(artifacts, prepare)
    spaces = [space_of(start, config.search) for start in starts(config.train, prepare)]
    searched = [
        _search_model(Study(space, config.search), config.search, store, prepare, embed, run_trials) for space in spaces
    ]
    result = _write(artifacts, config, searched, prepare, embed)
    _note(artifacts, config.data_name, result, searched)
    return result


def search_by_hand(config: PipelineConfig, store: StoreConfig) -> StageResult:
    """The whole of it in this process and without a Prefect server, the stages before it included."""
    from tasks.stages import for_this_data, run_by_hand

    done = run_by_hand(config, store, last="embed")
    prepare, embed = done["prepare"][0].ref, done["embed"][0].ref if "embed" in done else None
    return search(
        for_this_data(config, store, done), store, prepare, embed,
        lambda calls: [result_of(trial_task.fn(**call)) for call in calls],
    )  # fmt: skip


def starts(config: TrainConfig, prepare: ArtifactRef) -> list[RunSettings]:
    """The models to search, each at the settings that a run would train it with, with the first seed."""
    return runs(config.model_copy(update={"grid": {}, "seeds": config.seeds[:1]}), prepare)


def _check_validation(artifacts: ArtifactStore, prepare: ArtifactRef) -> None:
    if not artifacts.dataset(prepare, "split").count_rows(filter=pc.field("part") == "validation"):
        raise DataError.at(
            "there is no validation part to choose settings on", "give it a share in prepare.ratios, such as [3, 1, 1]"
        )


def _search_model(
    study: Study,
    config: SearchConfig,
    store: StoreConfig,
    prepare: ArtifactRef,
    embed: ArtifactRef | None,
    run_trials: RunTrials,
) -> Searched:
    """Batch after batch of trials, until there are enough or the minutes are used up."""
    artifacts, found = ArtifactStore.open(store), Searched(study)
    start = study.space.start
    embed = embed if start.reads_semantics else None
    report.log().info("%s: %s", found.label, in_words(study, config))
    report.log().info("%s: %s", found.label, estimate(Training(artifacts, start, prepare, embed), config))
    seconds: list[float] = []
    progress = report.Progress(f"search-{found.label}-progress", f"trials of {found.label}", every=0.0)
    while (n := min(config.batch, config.trials - len(study.trials))) > 0:
        if config.minutes is not None and sum(seconds) >= 60 * config.minutes:
            report.log().info("%s: the %g minutes of training are used up", found.label, config.minutes)
            break
        asked = study.ask(n)
        results = run_trials([_call(trial, store, prepare, embed) for trial in asked])
        for trial, result in zip(asked, results, strict=True):
            study.tell(trial, outcome_of(artifacts, result.ref, trial.thresholds))
            found.artifacts.append(result.ref)
            seconds.append(artifacts.manifest(result.ref).run.seconds)
        progress(len(study.trials), config.trials, so_far(study, config, seconds))
    _conclude(found)
    return found


def _call(trial: Trial, store: StoreConfig, prepare: ArtifactRef, embed: ArtifactRef | None) -> dict[str, Any]:
    return {
        "settings": trial.settings,
        "thresholds": trial.thresholds,
        "store": store,
        "prepare": prepare,
        "embed": embed,
    }


def _conclude(searched: Searched) -> None:
    """Say what was found. Raises DataError if no trial came to its end."""
    best, start = searched.study.best, searched.study.trials[0][1]
    if best is None:
        raise DataError.at(
            f"none of the {len(searched.study.trials)} trials of {searched.label} came to its end: their losses were "
            "no finite numbers",
            "lower the learning rates in search.ranges, or look for extreme values in the semantic vectors",
        )
    report.log().info(
        "%s: best validation %s %.4f in trial %d; the start has %.4f",
        searched.label, STOPPING_METRIC, best[1].value, best[0].number, start.value,
    )  # fmt: skip


def best_config(config: PipelineConfig, best: Iterable[Trial]) -> PipelineConfig:
    """The settings with what a search found for single models in place of theirs.

    What presets choose is written down, too: another version's presets, or more data, change nothing.
    """
    train = config.train.model_dump()
    per_model: dict[str, dict[str, Any]] = train["per_model"]
    for trial in best:
        settings = trial.settings
        names = {"weight_decay", "patience", "backbone_settings", *(name.partition(".")[0] for name in trial.values)}
        own = settings.model_dump(include=names | ({"alignment"} if settings.alignment else set()))
        per_model.setdefault(settings.backbone, {})[settings.variant] = own
    train |= {"per_model": per_model, "grid": {}}
    return config.model_copy(update={"train": TrainConfig.model_validate(train), "search": PipelineConfig().search})


def _best(searched: Searched) -> tuple[Trial, Outcome]:
    assert searched.study.best is not None
    return searched.study.best


def _write(
    artifacts: ArtifactStore,
    config: PipelineConfig,
    searched: Sequence[Searched],
    prepare: ArtifactRef,
    embed: ArtifactRef | None,
) -> StageResult:
    text = config_toml(best_config(config, [_best(one)[0] for one in searched]))
    keys = {
        f"{ref.stage}/{one.label.replace(' ', '/')}/{number:03d}": ref.key
        for one in searched
        for number, ref in enumerate(one.artifacts)
    }
    inputs = {"prepare": prepare.key} | ({"embed": embed.key} if embed else {}) | keys
    # best.toml names the folder of the data, which is in no key.
    stage = Stage("search", VERSION, ("trials",), key_fields(config.search) | {"best": text}, inputs)

    def write(out: ArtifactWriter) -> None:
        out.table("trials", pa.concat_tables(map(_trials, searched)))
        out.table("importance", pa.concat_tables(map(_importance, searched)))
        out.file(BEST, text.encode())
        out.file(PAGE, search_page(config.data_name, [one.study for one in searched]).encode())

    result = stage.run(artifacts, write, force=False)
    addresses = {name: artifacts.address(result.ref, name) for name in (PAGE, BEST)}
    page = markdown([one.study for one in searched], addresses[PAGE], addresses[BEST])
    report.show_markdown("search", page, "What the search found: the best settings, what mattered, every trial")
    return result


def _trials(searched: Searched) -> pa.Table:
    rows = [
        {
            "backbone": trial.settings.backbone,
            "variant": trial.settings.variant,
            "number": trial.number,
            "state": outcome.state,
            STOPPING_METRIC: outcome.value,
            "epochs": max(outcome.validations, default=-1) + 1,
            "settings": trial.settings.model_id.settings,
            "key": ref.key,
            "parameters": [{"name": name, "value": json.dumps(value)} for name, value in trial.values.items()],
        }
        for (trial, outcome), ref in zip(searched.study.trials, searched.artifacts, strict=True)
    ]
    schema = {
        "backbone": pa.string(), "variant": pa.string(), "number": pa.int32(), "state": pa.string(),
        STOPPING_METRIC: pa.float64(), "epochs": pa.int32(), "settings": pa.string(), "key": pa.string(),
        "parameters": _PARAMETERS,
    }  # fmt: skip
    return pa.Table.from_pylist(rows, pa.schema(list(schema.items())))


def _importance(searched: Searched) -> pa.Table:
    start, found = searched.study.space.start, searched.study.importance()
    columns = {
        "backbone": pa.array([start.backbone] * len(found), pa.string()),
        "variant": pa.array([start.variant] * len(found), pa.string()),
        "name": pa.array(found.keys(), pa.string()),
        "importance": pa.array(found.values(), pa.float64()),
    }
    return pa.table(columns)


def last_search(artifacts: ArtifactStore, name: str) -> dict[str, Any]:
    """What the data set's last search noted. Raises StoreError if there was none, or it is damaged."""
    found = datasets.read(artifacts, name, LAST_SEARCH)
    if not isinstance(found, dict):
        raise StoreError(f"{artifacts.url} has no search of the data set {name!r}: run `rlmrec search`")
    return found


def _note(artifacts: ArtifactStore, name: str, result: StageResult, searched: Sequence[Searched]) -> None:
    """For the command line and for scripts: what the data set's last search found, and where."""
    models = [
        {
            "backbone": one.study.space.start.backbone,
            "variant": one.study.space.start.variant,
            "trials": len(one.study.trials),
            "pruned": sum(outcome.state == "pruned" for _, outcome in one.study.trials),
            "start": one.study.trials[0][1].value,
            "best": _best(one)[1].value,
            "trial": _best(one)[0].number,
            "settings": dict(_best(one)[0].values),
        }
        for one in searched
    ]
    addresses = {"best": artifacts.address(result.ref, BEST), "page": artifacts.address(result.ref, PAGE)}
    datasets.write(artifacts, name, LAST_SEARCH, {"key": result.ref.key, **addresses, "models": models})
