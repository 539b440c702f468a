"""A table or figure of the paper: ordinary runs of the stages for each arm of its recipe, and their rows together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlmrec_core.config import PipelineConfig, config_toml
from rlmrec_core.experiments import RECIPES, RecipeName, Sheet, applied, arms, latex, markdown, picture
from storage import ArtifactStore, ArtifactWriter, StoreConfig
from tasks import datasets, report
from tasks.experiment_budget import Planned, estimate
from tasks.experiment_rows import ArmRun, Material, RunStages, accuracy, far_neighbours, seconds
from tasks.stage import Stage, StageResult
from tasks.stages import Done, for_this_data, run_by_hand
from tasks.train import runs

VERSION = 3
MARKDOWN, LATEX, SVG, PNG, SETTINGS = "table.md", "table.tex", "picture.svg", "picture.png", "settings.toml"


def experiment(
    recipe: RecipeName, config: PipelineConfig, store: StoreConfig, n_seeds: int, run_stages: RunStages
) -> StageResult:
    """Train and measure what a recipe compares; the artifact holds the rows, tables, pictures and a page.

    What was made before is found, be it by another recipe or a run. An estimate is told before a model is trained.
    """
    artifacts, config = ArtifactStore.open(store), applied(recipe, config, n_seeds)
    prepared = []
    for arm, settings in arms(recipe, config):
        done = run_stages(settings, "ingest", "embed", {})
        prepared.append(ArmRun(arm, for_this_data(settings, store, done), done))
    if RECIPES[recipe].shows == "seconds":
        return _write(artifacts, recipe, config, seconds(artifacts, prepared[0]))
    told = estimate(artifacts, [one for run in prepared for one in _planned(artifacts, run, prepared)])
    report.log().info("%s: %s", recipe, told)
    report.show_markdown(f"experiment-{recipe}-estimate", told, "How long the experiment takes")
    trained: list[ArmRun] = []
    for run in prepared:
        trained.append(_trained(run, trained, run_stages))
    shows = {"accuracy": accuracy, "far neighbours": far_neighbours}[RECIPES[recipe].shows]
    measured = [run for run in trained if run.arm.is_measured]
    return _write(artifacts, recipe, config, shows(artifacts, measured, run_stages))


def experiment_by_hand(recipe: RecipeName, config: PipelineConfig, store: StoreConfig, n_seeds: int) -> StageResult:
    """The whole of it in this process and without a Prefect server."""

    def run_stages(settings: PipelineConfig, first: str, last: str, done: Done) -> Done:
        return run_by_hand(settings, store, last, first=first, done=done)

    return experiment(recipe, config, store, n_seeds, run_stages)


def _trained(run: ArmRun, others: Sequence[ArmRun], run_stages: RunStages) -> ArmRun:
    starts = next((other.done["train"] for other in others if other.arm.name == run.arm.starts_from), [])
    keys = {seed: [one.ref.key for one in starts if one.labels["seed"] == seed] for seed in run.config.train.seeds}
    models: list[StageResult] = []
    for config in _started(run.config, keys):
        models += run_stages(config, "train", "train", run.done)["train"]
    return replace(run, done={**run.done, "train": models})


def _started(config: PipelineConfig, keys: Mapping[int, Sequence[str]]) -> list[PipelineConfig]:
    """The settings, or where models start these those of each seed: beside one that starts afresh, one from each."""
    if not any(keys.values()):
        return [config]
    grids = {seed: {**config.train.grid, "start_from": ("none", *of_seed)} for seed, of_seed in keys.items()}
    trains = [config.train.model_copy(update={"seeds": (seed,), "grid": grid}) for seed, grid in grids.items()]
    return [config.model_copy(update={"train": train}) for train in trains]


def _planned(artifacts: ArtifactStore, run: ArmRun, others: Sequence[ArmRun]) -> list[Planned]:
    """The models of an arm; one that is to start from a model that is not trained yet stands there without a start."""
    plain = [run.training(artifacts, settings) for settings in runs(run.config.train, run.prepare)]
    planned = [Planned(one, bool(artifacts.find("train", one.stage.key))) for one in plain]
    starts = [
        start
        for other in others
        if other.arm.name == run.arm.starts_from
        for start in _planned(artifacts, other, others)
    ]
    for one in plain:
        for start, is_trained in starts:
            if start.settings.seed != one.settings.seed:
                continue
            if is_trained:
                started = run.training(artifacts, one.settings.model_copy(update={"start_from": start.stage.key}))
                planned.append(Planned(started, bool(artifacts.find("train", started.stage.key))))
            else:
                planned.append(Planned(one, False))
    return planned


def _write(artifacts: ArtifactStore, recipe: RecipeName, config: PipelineConfig, material: Material) -> StageResult:
    settings = _settings(config)
    stage = Stage("experiment", VERSION, ("rows",), {"recipe": recipe, "settings": settings}, material.inputs)

    def write(out: ArtifactWriter) -> None:
        rows, sheet = material.make()
        out.table("rows", rows)
        for name, content in _files(sheet).items():
            out.file(name, content)
        out.file(SETTINGS, settings.encode())

    result = stage.run(artifacts, write, force=False)
    table = artifacts.read_bytes(result.ref, MARKDOWN).decode()
    report.show_markdown(f"experiment-{recipe}", table, RECIPES[recipe].title)
    datasets.write(artifacts, config.data_name, noted(recipe), {"key": result.ref.key})
    report.log().info("%s", result)
    return result


def _files(sheet: Sheet) -> dict[str, bytes]:
    return {
        MARKDOWN: markdown(sheet).encode(),
        LATEX: latex(sheet).encode(),
        SVG: picture(sheet, "svg"),
        PNG: picture(sheet, "png"),
    }


def _settings(config: PipelineConfig) -> str:
    """What the rows depend on, as a file; where the data lie and where the work is done is left out."""
    plain = PipelineConfig()
    unread: dict[str, Any] = {
        name: getattr(plain, name) for name in ("name", "engine", "gates", "search", "recommend", "reasons")
    }
    ingest = config.ingest.model_copy(update={"path": None})
    return config_toml(config.model_copy(update={**unread, "ingest": ingest}))


def noted(recipe: RecipeName) -> str:
    """The file of a data set that remembers its last table of a recipe."""
    return f"last-{recipe}.json"
