"""What a data set's last run gives to people and to other systems: `rlmrec recommend`, `similar`, `export`, `serve`."""

import json
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.services import settle
from flows.terminal import Console, StoreOption, plain
from rlmrec_core.config.export import ExportConfig
from storage import ArtifactStore, StoreConfig

if TYPE_CHECKING:
    from tasks.results import ListedItem, Results

console = Console(soft_wrap=True)

NameOption = Annotated[str | None, typer.Option(help="Name of the data set; default: the only one in the store")]
LengthOption = Annotated[int, typer.Option("--k", min=1, max=1000, help="Length of the list")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")]


def recommend(
    user: Annotated[str | None, typer.Option(help="Id of a user, as in your data")] = None,
    item: Annotated[list[str] | None, typer.Option(help="Id of an item that somebody new has; may be repeated")] = None,
    text: Annotated[str | None, typer.Option(help="What somebody new says of themselves, in a sentence")] = None,
    new: Annotated[bool, typer.Option("--new", help="With --user: of items that nobody took yet")] = False,
    k: LengthOption = 10,
    store: StoreOption = "artifacts",
    name: NameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show the list of a user, or of somebody new who has a few items or says something of themselves."""
    if [user is not None, bool(item), text is not None].count(True) != 1:
        raise typer.BadParameter(
            "say --user ID for a list of a known user, or --item ID or --text TEXT for one of somebody new"
        )
    if new and user is None:
        raise typer.BadParameter("--new goes with --user ID")
    results = _open(store, name)
    if new and user is not None:
        found = results.new_for(ArtifactStore.open(StoreConfig(url=store)), user, k)
        _show(results, f"new items for user {user}", found, json_)
    elif user is not None:
        _show(results, f"recommendations for user {user}", results.recommend(user, k), json_)
    elif text is not None:
        try:
            _show(results, f"recommendations for: {text[:60]}", results.recommend_for_text(text, k), json_)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    else:
        wanted = list(item or [])
        _show(
            results, f"recommendations for somebody with {', '.join(wanted)}", results.recommend_for(wanted, k), json_
        )


def similar(
    item: Annotated[str, typer.Option(help="Id of an item, as in your data")],
    k: LengthOption = 10,
    store: StoreOption = "artifacts",
    name: NameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show the items that the model has learnt to be most like one; the score is the cosine of their vectors."""
    results = _open(store, name)
    title = results.titles[results.item(item)]
    _show(results, f"similar to item {item}" + (f", {title}" if title else ""), results.similar(item, k), json_)


def export(
    to: Annotated[list[str], typer.Argument(help="A folder, or postgresql://user@host/database; several if you like")],
    format_: Annotated[
        list[str] | None, typer.Option("--format", help="parquet, csv, jsonl, npy, faiss or trec; may be repeated")
    ] = None,
    schema: Annotated[str, typer.Option(help="Schema of the tables in Postgres")] = "rlmrec",
    store: StoreOption = "artifacts",
    name: NameOption = None,
) -> None:
    """Export lists and vectors with the original ids, as files or into Postgres with pgvector."""
    servers = [place for place in to if "://" in place]
    folders = [place for place in to if "://" not in place]
    if len(servers) > 1 or len(folders) > 1:
        raise typer.BadParameter("one folder and one database at most")
    given = {"folder": next(iter(folders), None), "postgres": next(iter(servers), None), "schema_name": schema}
    config = ExportConfig.model_validate(given | ({"formats": format_} if format_ else {}))
    settle(store)
    from tasks.export import export as export_task

    for place, held in export_task.fn(config, StoreConfig(url=store), name).items():
        console.print(f"{place}: {held}", markup=False)


def report(
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser")] = True,
    store: StoreOption = "artifacts",
    name: NameOption = None,
) -> None:
    """Make the report of what is in use, one page that stands alone, and open it."""
    results = _open(store, name)
    from tasks.page import report_page

    artifacts = ArtifactStore.open(StoreConfig(url=store))
    address = report_page(artifacts, results)
    console.print(address, markup=False)
    if open_ and artifacts.is_local:
        webbrowser.open(Path(address).as_uri())


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; other than loopback needs $RLMREC_SERVE_TOKEN")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks for newer results")] = 5.0,
    store: StoreOption = "artifacts",
    name: NameOption = None,
) -> None:
    """Answer over HTTP: /users/ID, /items/ID/similar, POST /recommend, /health, /metrics, /openapi.json."""
    from flows.serve import run

    run(StoreConfig(url=store), name, host, port, every)


def _open(store: str, name: str | None) -> "Results":
    settle(store)
    from tasks.results import Results  # loads torch, which takes seconds

    return Results.open(ArtifactStore.open(StoreConfig(url=store)), name)


def _show(results: "Results", question: str, answer: "Sequence[ListedItem]", as_json: bool) -> None:
    if as_json:
        about = {"data": results.name, "model": results.model.label, "written": results.written}
        print(json.dumps(about | {"items": [row._asdict() for row in answer]}))  # ASCII: no text commands a terminal
        return
    table = Table("rank", "item", "title", "score", title=plain(question), title_justify="left")
    for row in answer:
        table.add_row(str(row.rank), plain(row.item_id), plain(row.title or ""), f"{row.score:.4f}")
    console.print(table)
    made = f"data set {results.name}, model {' '.join(map(str, results.model))}, made {results.written[:19]} UTC"
    console.print(made, markup=False)
    if not answer:
        console.print("nothing is left to recommend: all items are known", markup=False)
