"""The console command `rlmrec`: a thin door to the flows."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table
from typer.core import TyperGroup

from flows import in_use
from flows.answers import export, recommend, report, serve, similar
from flows.artifacts import app as artifacts_app
from flows.download import download
from flows.faults import explain, is_known, record
from flows.options import ConfigOption, DataNameOption, DataOption, DatasetOption, SetOption, settings
from flows.outcome import show_experiment, show_results, show_search
from flows.services import absolute, settle
from flows.terminal import Console, StoreOption
from rlmrec_core.config import PipelineConfig, SettingsError
from rlmrec_core.experiments import RECIPES, RecipeName, applied, n_models
from storage import StoreConfig


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
    name: DataNameOption = None,
) -> None:
    """Run rlmrec/full-pipeline through its deployment and wait for the end; exit status 1 if it did not complete."""
    chosen = settings(config, dataset, data, set_ or [], name)
    home = settle(store)
    from flows.runs import run_deployment

    if not run_deployment(home, "rlmrec/full-pipeline", _parameters(chosen, store) | {"force": force}, console):
        raise typer.Exit(1)
    show_results(store, chosen.data_name, "" if store == absolute("artifacts") else f" --store {store}")


@app.command()
def search(
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
    name: DataNameOption = None,
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
    show_search(store, chosen.data_name, out)


@app.command()
def experiment(
    recipe: Annotated[RecipeName, typer.Argument(help="A table or figure of the paper")],
    config: ConfigOption = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    store: StoreOption = "artifacts",
    set_: SetOption = None,
    name: DataNameOption = None,
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
    show_experiment(store, chosen.data_name, recipe)


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
