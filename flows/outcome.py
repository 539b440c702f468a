"""What the command line says when a run of it has ended."""

from pathlib import Path
from typing import Any

from rich.table import Column, Table

from flows.terminal import Console, own_command
from rlmrec_core.experiments import RecipeName
from storage import ArtifactRef, ArtifactStore, StoreConfig

console = Console(soft_wrap=True)


def show_results(store: str, name: str, option: str) -> None:
    """How good the models of a full run are, and where its results lie.

    option: what leads other commands to the same store.
    """
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


def show_search(store: str, name: str, out: Path | None) -> None:
    """What a search found, and how to use it. out: where to put a copy of best.toml."""
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


def show_experiment(store: str, name: str, recipe: RecipeName) -> None:
    """The table of a recipe, and its files."""
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
