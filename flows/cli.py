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
from rich.console import Console
from rich.table import Table

from flows.artifacts import app as artifacts_app
from flows.download import download
from flows.services import Home, ServiceError
from rlmrec_core.config import PipelineConfig, load_config
from storage import ArtifactStore, StoreConfig, StoreError

app = typer.Typer(
    help="RLMRec as a pipeline: raw data in, recommendations out.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.add_typer(artifacts_app, name="artifacts")
app.command()(download)
console = Console(highlight=False, soft_wrap=True)

StoreOption = Annotated[str, typer.Option("--store", envvar="RLMREC_STORE", help="Folder or bucket of the artifacts")]


@app.command()
def up(store: StoreOption = "artifacts") -> None:
    """Bring up the Prefect server with its UI, the deployments and a worker; Ctrl-C ends all of it."""
    home = _settle(store)
    from flows.launch import everything

    with _ending_well(), everything(home, console.print, lasting=True) as running:
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
    config: Annotated[Path | None, typer.Option(help="TOML file with settings", exists=True, dir_okay=False)] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set whose settings are the start; default: sample")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the raw data", exists=True)] = None,
    store: StoreOption = "artifacts",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated")
    ] = None,
    force: Annotated[bool, typer.Option(help="Compute every stage anew")] = False,
) -> None:
    """Run rlmrec/full-pipeline through its deployment and wait for the end; exit status 1 if it did not complete."""
    chosen = settings(config, dataset, data, set_ or [])
    home = _settle(store)
    from flows.runs import run_pipeline

    address = _absolute(store)
    with _ending_well():
        completed = run_pipeline(home, chosen, StoreConfig(url=address), force, console)
    if not completed:
        raise typer.Exit(1)
    _show_results(address)


@app.command()
def plan(
    config: Annotated[Path | None, typer.Option(help="TOML file with settings", exists=True, dir_okay=False)] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set whose settings are the start; default: sample")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the raw data", exists=True)] = None,
    store: StoreOption = "artifacts",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.FIELD=VALUE", help="One setting; may be repeated")
    ] = None,
) -> None:
    """Say what the profiles would cost. Reads and divides the data, which is free, and asks no model."""
    chosen = settings(config, dataset, data, set_ or [])
    _settle(store)
    from tasks.planning import plan_by_hand

    with _ending_well():
        rows = plan_by_hand(chosen, StoreConfig(url=_absolute(store)))
    for row in rows:
        table = Table(row["side"], "")
        for name, value in row.items():
            table.add_row(name, "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value))
        console.print(table)
    if not rows:
        console.print("no profile is written by a model server: nothing costs anything")


def settings(file: Path | None, dataset: str | None, data: Path | None, assignments: list[str]) -> PipelineConfig:
    overrides: dict[str, Any] = reduce(_with, map(_assignment, assignments), {})
    if data:
        overrides = _with(overrides, (["ingest", "path"], str(data)))
    try:
        return _from_here(load_config(file, dataset, overrides))
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise typer.BadParameter("these settings cannot be used:\n" + "\n".join(faults)) from None
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None


def _from_here(config: PipelineConfig) -> PipelineConfig:
    """The same settings with the data's folder made absolute: the worker runs in another folder."""
    if not config.ingest.path:
        return config
    ingest = config.ingest.model_copy(update={"path": str(Path(config.ingest.path).expanduser().resolve())})
    return config.model_copy(update={"ingest": ingest})


def _assignment(text: str) -> tuple[list[str], Any]:
    """`section.field=value` taken apart; the value as TOML, or as the bare text it is."""
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise typer.BadParameter(f"--set {text!r}: expected SECTION.FIELD=VALUE, such as train.max_epochs=50")
    try:
        return name.split("."), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.split("."), value


def _with(tree: dict[str, Any], assignment: tuple[list[str], Any]) -> dict[str, Any]:
    (head, *rest), value = assignment
    return tree | {head: _with(tree.get(head, {}), (rest, value)) if rest else value}


def _absolute(store: str) -> str:
    return store if "://" in store else str(Path(store).resolve())


def _settle(store: str) -> Home:
    """The project's home, entered before Prefect is imported: at import it already makes its own folder."""
    home = Home.beside(store)
    os.environ["RLMREC_STORE"] = _absolute(store)  # for the worker, whose runs name no other
    if "PREFECT_API_URL" in os.environ:
        return home  # the user's own server, with the user's own settings
    environment = home.environment()
    os.environ.clear()
    os.environ.update(environment)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    return home


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
    except (ServiceError, StoreError, LookupError) as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from None


def _show_results(store: str) -> None:
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    last_run = artifacts.read_json("last-run.json")
    console.print(_metrics_table(last_run["metrics"]))
    console.print(f"recommendations: {last_run['recommendations']}", markup=False)
    console.print(f"all artifacts:   {store}   (rlmrec artifacts list)", markup=False)
    console.print("the UI:          make ui   (or: rlmrec up)", markup=False)


def _metrics_table(metrics: list[dict[str, Any]]) -> Table:
    """One column for each model, so that the table fits a narrow terminal."""
    from tasks.metrics import comparison

    rows = comparison(metrics, "test")
    table = Table("test", *(" ".join(dict.fromkeys((row["backbone"], row["variant"]))) for row in rows))
    for name in list(rows[0])[2:]:
        table.add_row(name, *(f"{row[name]:.4f}" for row in rows))
    return table
