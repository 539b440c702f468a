"""The console command `rlmrec`: a thin door to the flows."""

import os
import signal
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Column, Table
from typer.core import TyperGroup

from flows import in_use
from flows.answers import export, recommend, report, serve, similar
from flows.artifacts import app as artifacts_app
from flows.download import download
from flows.faults import explain, is_known, record
from flows.services import absolute, settle
from flows.terminal import Console, StoreOption, own_command
from rlmrec_core.config import PipelineConfig, SettingsError, load_config
from rlmrec_core.experiments import RECIPES, RecipeName, applied, n_models
from storage import ArtifactRef, ArtifactStore, StoreConfig


class _Commands(TyperGroup):
    """The commands; whatever goes wrong in one of them ends in one line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        with _ending_well():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="RLMRec as a pipeline: raw data in, recommendations out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(artifacts_app, name="artifacts")
for _command in (download, recommend, similar, export, report, serve, in_use.promote, in_use.rollback, in_use.history):
    app.command()(_command)
console = Console(soft_wrap=True)

ConfigOption = Annotated[Path | None, typer.Option(help="TOML file with settings", exists=True, dir_okay=False)]
DatasetOption = Annotated[str | None, typer.Option(help="Data set whose settings are the start; default: sample")]
DataOption = Annotated[Path | None, typer.Option(help="Folder of the raw data", exists=True)]
NameOption = Annotated[str | None, typer.Option(help="Name of the data set; default: one of reader and path")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated")
]


@app.command()
def up(store: StoreOption = "artifacts") -> None:
    """Bring up the Prefect server with its UI, the deployments and a worker; Ctrl-C ends all of it."""
    home = settle(store)
    from flows.launch import everything

    with everything(home, console.print, lasting=True) as running:
        if not running.server:
            console.print(f"already up: {running.ui}")
            return
        console.print(f"ready: {running.ui}    (Ctrl-C ends the server and the worker)")
        console.print(f"in another terminal: export PREFECT_API_URL={running.api}", markup=False)
        while True:
            running.check()
            time.sleep(1.0)


@app.command()
def run(
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
    force: Annotated[bool, typer.Option(help="Compute every stage anew")] = False,
    name: NameOption = None,
) -> None:
    """Run rlmrec/full-pipeline through its deployment and wait for the end; exit status 1 if it did not complete."""
    chosen = settings(config, dataset, data, set_ or [], name)
    home = settle(store)
    from flows.runs import run_deployment

    if not run_deployment(home, "rlmrec/full-pipeline", _parameters(chosen, store) | {"force": force}, console):
        raise typer.Exit(1)
    _show_results(store, chosen.data_name, "" if store == absolute("artifacts") else f" --store {store}")


@app.command()
def search(
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
    name: NameOption = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Settings to try for each backbone and variant")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of training, all trials of a model together")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write best.toml to this file", dir_okay=False)] = None,
) -> None:
    """Look for better settings of the models, on validation alone; what it finds is a file for `run --config`."""
    budget = [f"search.{key}={value}" for key, value in (("trials", trials), ("minutes", minutes)) if value is not None]
    chosen = settings(config, dataset, data, [*(set_ or []), *budget], name)
    home = settle(store)
    from flows.runs import run_deployment

    if not run_deployment(home, "search/search", _parameters(chosen, store), console):
        raise typer.Exit(1)
    _show_search(store, chosen.data_name, out)


@app.command()
def experiment(
    recipe: Annotated[RecipeName, typer.Argument(help="A table or figure of the paper")],
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
    name: NameOption = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 2023 on")] = 5,
) -> None:
    """Make a table or figure of the paper from your data; run again, it computes only what is missing."""
    chosen = settings(config, dataset, data, set_ or [], name)
    console.print(f"{RECIPES[recipe].title}: {n_models(recipe, applied(recipe, chosen, seeds))} models")
    home = settle(store)
    from flows.runs import run_deployment

    parameters = _parameters(chosen, store) | {"recipe": recipe, "seeds": seeds}
    if not run_deployment(home, "experiments/experiments", parameters, console):
        raise typer.Exit(1)
    _show_experiment(store, chosen.data_name, recipe)


def _parameters(config: PipelineConfig, store: str) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "store": StoreConfig(url=store).model_dump()}


@app.command()
def plan(
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
) -> None:
    """Say what profiles, and reasons in a model's words, would cost. Reads and divides the data and asks no model."""
    chosen = settings(config, dataset, data, set_ or [])
    settle(store)
    from tasks.plan import plan_by_hand

    rows = plan_by_hand(chosen, StoreConfig(url=store), lambda told: console.print(told, markup=False))
    for row in rows:
        table = Table(row["side"], "")
        for name, value in row.items():
            table.add_row(name, "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value))
        console.print(table)
    if not rows:
        console.print("nothing is written by a model server: nothing costs anything")


@app.command()
def check(
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    set_: SetOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")] = False,
) -> None:
    """Show everything that is wrong with the raw data at once; exit status 1 if a run would not take it."""
    chosen = settings(config, dataset, data, set_ or [])
    from flows.check import check_data

    if not check_data(chosen, console, as_json=json_):
        raise typer.Exit(1)


@app.command()
def alarms(
    block: Annotated[str, typer.Argument(help="Who is told: type and name of a block, such as webhook/night")],
    store: StoreOption = "artifacts",
) -> None:
    """Create the automations of alarms.yaml on the Prefect server, or bring them up to date."""
    home = settle(store)
    from flows.alarms import FILE, create_alarms
    from flows.client import connect
    from flows.runs import reached

    with reached(home, console.print) as running, connect(running.api) as client:
        for name in create_alarms(client, block, home.project / FILE):
            console.print(f"alarm: {name}: {block} is told", markup=False)


def settings(
    file: Path | None, dataset: str | None, data: Path | None, assignments: list[str], name: str | None = None
) -> PipelineConfig:
    overrides: dict[str, Any] = reduce(_with, map(_assignment, assignments), {"name": name} if name else {})
    if data:
        overrides = _with(overrides, (["ingest", "path"], str(data)))
    return _from_here(load_config(file, dataset, overrides))


def _from_here(config: PipelineConfig) -> PipelineConfig:
    """The same settings with folders made absolute: the worker runs in another folder."""
    raw = config.ingest.raw
    given = {name: getattr(raw, name) for name in ("path", "item_mapping", "user_mapping")}
    here = {name: _absolute(path) for name, path in given.items() if path}
    changes: dict[str, Any] = {"raw": raw.model_copy(update=here)} if here else {}
    if config.ingest.path:
        changes["path"] = _absolute(config.ingest.path)
    if changes:
        config = config.model_copy(update={"ingest": config.ingest.model_copy(update=changes)})
    own = config.train.backbone_settings
    model = own.get("cllm4rec", {}).get("model")
    if model and Path(model).expanduser().is_dir():  # else a name on the hub
        own = own | {"cllm4rec": own["cllm4rec"] | {"model": _absolute(model)}}
        config = config.model_copy(update={"train": config.train.model_copy(update={"backbone_settings": own})})
    return config


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _assignment(text: str) -> tuple[list[str], Any]:
    """`section.field=value` taken apart; the value as TOML, or as the bare text it is."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise SettingsError(f"--set {name!r}: expected SECTION.FIELD=VALUE, such as train.max_epochs=50")
    try:
        return name.split("."), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.split("."), value


def _with(tree: dict[str, Any], assignment: tuple[list[str], Any]) -> dict[str, Any]:
    (head, *rest), value = assignment
    inner = tree.get(head, {})
    return tree | {head: _with(inner if isinstance(inner, dict) else {}, (rest, value)) if rest else value}


@contextmanager
def _ending_well() -> Iterator[None]:
    """End in good order on Ctrl-C, SIGTERM and SIGHUP, and show what went wrong without a traceback."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: exit(128 + number))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    try:
        yield
    except KeyboardInterrupt:
        console.print("ended")
        raise typer.Exit(130) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("typer", "click"):  # an exit, or a wrong option
            raise
        console.print(f"error: {explain(error)}", markup=False)
        if not isinstance(error, SettingsError):
            log = _log_file()
            record(error, log)
            if not is_known(error):
                console.print(f"this should have been a clearer message; the traceback is in {log}", markup=False)
        raise typer.Exit(2 if isinstance(error, SettingsError | ValidationError) else 1) from None


def _log_file() -> Path:
    """Where this process writes the tracebacks that it does not show."""
    return Path(os.environ.get("PREFECT_HOME", ".rlmrec/prefect")).parent / "logs" / "command.log"


def _show_results(store: str, name: str, option: str) -> None:
    """option: what leads other commands to the same store."""
    from tasks import datasets

    last_run = datasets.read(ArtifactStore.open(StoreConfig(url=store)), name, "last-run.json")
    console.print(metrics_table(last_run["metrics"]))
    for finding in last_run["findings"]:
        console.print(finding, markup=False)
    console.print(f"recommendations: {last_run['recommendations']}", markup=False)
    console.print(f"data set:        {name}, {last_run['verdict']}{_warnings(last_run)}", markup=False)
    console.print(f"all artifacts:   {store}   ({own_command()} artifacts list{option})", markup=False)
    console.print(f"the report:      {own_command()} report --name {name}{option}", markup=False)
    console.print(f"the UI:          {own_command()} up{option}", markup=False)


def _show_search(store: str, name: str, out: Path | None) -> None:
    """out: where to put a copy of best.toml."""
    from tasks.search import BEST, last_search

    artifacts = ArtifactStore.open(StoreConfig(url=store))
    found = last_search(artifacts, name)
    table = Table("model", "trials", "stopped early", "start", "best", title="validation recall@20")
    for row in found["models"]:
        counts = (str(row["trials"]), str(row["pruned"]))
        table.add_row(f"{row['backbone']} {row['variant']}", *counts, f"{row['start']:.4f}", f"{row['best']:.4f}")
    console.print(table)
    if out:
        out.write_bytes(artifacts.read_bytes(ArtifactRef("search", found["key"], artifacts.url), BEST))
    console.print(f"page: {found['page']}", markup=False)
    console.print(f"next: {own_command()} run --config {out or found['best']}", markup=False)


def _show_experiment(store: str, name: str, recipe: RecipeName) -> None:
    from tasks import datasets
    from tasks.experiment import LATEX, MARKDOWN, PNG, SETTINGS, SVG, noted

    artifacts = ArtifactStore.open(StoreConfig(url=store))
    noted_down = datasets.read(artifacts, name, noted(recipe))
    found = ArtifactRef("experiment", noted_down["key"], artifacts.url)
    console.print(artifacts.read_bytes(found, MARKDOWN).decode(), markup=False)
    for file in ("rows.parquet", MARKDOWN, LATEX, SVG, PNG, SETTINGS):
        console.print(artifacts.address(found, file), markup=False)
    console.print(f"page: {noted_down['page']}", markup=False)


def _warnings(last_run: dict[str, Any]) -> str:
    reasons = [f"\n  warning: {row['reason']}" for row in last_run["gates"] if row["verdict"] == "warned"]
    lacking = [
        f"\n  incomplete: {stage['stage']}: {stage['unfinished']}"
        for stage in last_run["stages"]
        if stage["unfinished"]
    ]
    return "".join([*reasons, *lacking])


def metrics_table(metrics: list[dict[str, Any]]) -> Table | str:
    """One row for each model, at one length of lists; a sentence where nothing was measured."""
    from rlmrec_core.tables import shown_k
    from tasks.metrics import comparison, shown_part

    part = shown_part(metrics)
    rows = comparison(metrics, part, only=shown_k(metric["k"] for metric in metrics))
    if not rows:
        return "nothing is held out for validation or test (prepare.ratios): nothing was measured"
    names = list(rows[0])[1:]
    table = Table(Column(part, no_wrap=True), *(Column(name, justify="right") for name in names))
    for row in rows:
        table.add_row(row["model"], *(f"{row[name]:.4f}" for name in names))
    return table
