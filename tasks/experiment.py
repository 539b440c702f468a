"""A table or figure of the paper: ordinary runs of the stages for each arm of its recipe, and their rows together."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from rlmrec_core.config import PipelineConfig, RerankConfig, config_toml
from rlmrec_core.config.section import key_fields
from rlmrec_core.config.training import RunSettings
from rlmrec_core.experiments import RECIPES, RecipeName, applied, arms, latex, markdown, picture
from storage import ArtifactStore, ArtifactWriter, StoreConfig
from tasks import datasets, report
from tasks.experiment_budget import Planned, estimate
from tasks.experiment_page import PAGE, experiment_page
from tasks.experiment_rows import (
    ArmRun,
    Material,
    Rerank,
    RunStages,
    accuracy,
    check_has_text,
    far_neighbours,
    orders,
    seconds,
)
from tasks.rerank import check_can_rerank, cost_of_rerank, rerank
from tasks.stage import Stage, StageResult, result_of
from tasks.stages import Done, for_this_data, run_by_hand
from tasks.train import runs

VERSION = 8
MARKDOWN, LATEX, SVG, PNG, SETTINGS = "table.md", "table.tex", "picture.svg", "picture.png", "settings.toml"


def experiment(
    recipe: RecipeName,
    config: PipelineConfig,
    store: StoreConfig,
    n_seeds: int,
    run_stages: RunStages,
    ask: Rerank,
) -> StageResult:
    """Train and measure what a recipe compares; the artifact holds the rows, tables, pictures and a page.

    What was made before is found, be it by another recipe or a run. An estimate is told before a model is trained.
    """
    artifacts, config = ArtifactStore.open(store), applied(recipe, config, n_seeds)
    prepared = []
    for arm, settings in arms(recipe, config):
        done = run_stages(settings, "ingest", "embed", {})
        prepared.append(ArmRun(arm, for_this_data(settings, store, done), done))
    shows = RECIPES[recipe].shows
    if shows == "orders":
        check_can_rerank(store, prepared[0].prepare)
    if shows == "far neighbours":
        check_has_text(prepared[0])
    if shows == "seconds":
        return _write(artifacts, recipe, config, seconds(artifacts, prepared[0]))
    told = estimate(artifacts, [one for run in prepared for one in _planned(artifacts, run, prepared)])
    report.log().info("%s: %s", recipe, told)
    report.show_markdown(f"experiment-{recipe}-estimate", told, "How long the experiment takes")
    trained: list[ArmRun] = []
    for run in prepared:
        trained.append(_trained(run, trained, run_stages))
    measured = [run for run in trained if run.arm.is_measured]
    if shows == "orders":
        return _write(artifacts, recipe, config, orders(artifacts, measured, ask))
    compared = {"accuracy": accuracy, "far neighbours": far_neighbours}[shows]
    return _write(artifacts, recipe, config, compared(artifacts, measured, run_stages))


def experiment_by_hand(recipe: RecipeName, config: PipelineConfig, store: StoreConfig, n_seeds: int) -> StageResult:
    """The whole of it in this process and without a Prefect server."""

    def run_stages(settings: PipelineConfig, first: str, last: str, done: Done) -> Done:
        return run_by_hand(settings, store, last, first=first, done=done)

    def ask(settings: PipelineConfig, done: Done) -> StageResult:
        prepare, model = (done[stage][0].ref for stage in ("prepare", "train"))
        cost_of_rerank(settings.rerank, store, prepare, model)
        return result_of(rerank.fn(settings.rerank, store, prepare, model))

    return experiment(recipe, config, store, n_seeds, run_stages, ask)


def _trained(run: ArmRun, others: Sequence[ArmRun], run_stages: RunStages) -> ArmRun:
    starts = next((other.done["train"] for other in others if other.arm.name == run.arm.starts_from), [])
    models: list[StageResult] = []
    for config in _started(run.config, starts):
        models += run_stages(config, "train", "train", run.done)["train"]
    return replace(run, done={**run.done, "train": models})


def _started(config: PipelineConfig, starts: Sequence[StageResult]) -> list[PipelineConfig]:
    """The settings, or where models start these, those of each backbone and seed: one afresh, one from each of them."""
    found = []
    for backbone, seed in product(config.train.backbones, config.train.seeds) if starts else ():
        own = [one.ref.key for one in starts if (one.labels["backbone"], one.labels["seed"]) == (backbone, seed)]
        grid = {**config.train.grid, "start_from": ("none", *own)}
        train = config.train.model_copy(update={"backbones": (backbone,), "seeds": (seed,), "grid": grid})
        found.append(config.model_copy(update={"train": train}))
    return found or [config]


def _planned(artifacts: ArtifactStore, run: ArmRun, others: Sequence[ArmRun]) -> list[Planned]:
    """The models of an arm; one that is to start from a model that is not trained yet stands there without a start."""

    def planned(settings: RunSettings) -> Planned:
        training = run.training(artifacts, settings)
        return Planned(training, bool(artifacts.find(training.stage.name, training.stage.key)))

    found = [planned(settings) for settings in runs(run.config.train, run.prepare)]
    earlier = [other for other in others if other.arm.name == run.arm.starts_from]
    starts = [start for other in earlier for start in _planned(artifacts, other, others)]
    for one, start in product(list(found), starts):
        settings, theirs = one.training.settings, start.training.settings
        if (settings.backbone, settings.seed) != (theirs.backbone, theirs.seed):
            continue
        started = settings.model_copy(update={"start_from": start.training.stage.key})
        found.append(planned(started) if start.is_trained else one._replace(is_trained=False))
    return found


def _write(artifacts: ArtifactStore, recipe: RecipeName, config: PipelineConfig, material: Material) -> StageResult:
    settings = _settings(config, reranks=RECIPES[recipe].shows == "orders")
    # The page names the data set and the seeds.
    named = {"recipe": recipe, "settings": settings, "name": config.data_name}
    stage = Stage("experiment", VERSION, ("rows",), named, material.inputs)

    def write(out: ArtifactWriter) -> None:
        rows, sheet = material.make()
        out.table("rows", rows)
        out.file(MARKDOWN, markdown(sheet).encode())
        out.file(LATEX, latex(sheet).encode())
        out.file(SVG, picture(sheet, "svg"))
        out.file(PNG, picture(sheet, "png"))
        out.file(PAGE, experiment_page(recipe, config, sheet, settings).encode())
        out.file(SETTINGS, settings.encode())

    result = stage.run(artifacts, write, force=False)
    table, page = artifacts.read_bytes(result.ref, MARKDOWN).decode(), artifacts.address(result.ref, PAGE)
    said = f"`{page}`\n\nOne file that stands alone: download it, or open it.\n\n{table}"
    report.show_markdown(f"experiment-{recipe}", said, RECIPES[recipe].title)
    datasets.write(artifacts, config.data_name, noted(recipe), {"key": result.ref.key, "page": page})
    report.log().info("%s", result)
    return result


def _settings(config: PipelineConfig, *, reranks: bool) -> str:
    """What the rows depend on, as a file; where the data lie and where the work is done is left out."""
    plain = PipelineConfig()
    unread: dict[str, Any] = {
        name: getattr(plain, name) for name in ("name", "engine", "gates", "search", "recommend", "reasons")
    }
    # Budgets, prices and the like change no row.
    unread["rerank"] = RerankConfig.model_validate(key_fields(config.rerank)) if reranks else plain.rerank
    raw = config.ingest.raw
    files = {name: getattr(raw, name) for name in ("path", "item_mapping", "user_mapping")}
    raw = raw.model_copy(update={name: Path(file).name for name, file in files.items() if file})
    ingest = config.ingest.model_copy(update={"path": None, "raw": raw})
    return config_toml(config.model_copy(update={**unread, "ingest": ingest}))


def noted(recipe: RecipeName) -> str:
    """The file of a data set that remembers its last table of a recipe."""
    return f"last-{recipe}.json"
