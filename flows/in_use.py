"""`rlmrec promote`, `rollback` and `history`: which lists of a data set are in use."""

from typing import Annotated

import typer
from rich.table import Table

from flows.terminal import Console, StoreOption
from storage import ArtifactStore, StoreConfig
from tasks import promotion
from tasks.datasets import chosen

console = Console(soft_wrap=True)

NameArgument = Annotated[str | None, typer.Argument(help="Data set; default: the only one, the sample aside")]


def promote(name: NameArgument = None, store: StoreOption = "artifacts") -> None:
    """Put the last run's lists to use though a gate stopped them, or gates.promote is off."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    name = chosen(artifacts, name)
    console.print(promotion.in_words(name, promotion.promote_last(artifacts, name)), markup=False)


def rollback(
    name: NameArgument = None,
    to: Annotated[
        int | None, typer.Option(help="Number of a promotion in the history; default: the one before")
    ] = None,
    store: StoreOption = "artifacts",
) -> None:
    """Put an earlier promotion's lists to use again; every byte of theirs is checked first."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    name = chosen(artifacts, name)
    console.print(promotion.in_words(name, promotion.rollback(artifacts, name, to)), markup=False)


def history(name: NameArgument = None, store: StoreOption = "artifacts") -> None:
    """Show what was put to use when and why, newest first; a star marks what is in use."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    name = chosen(artifacts, name)
    now = promotion.current(artifacts, name)
    if now is None:
        raise promotion.NotPossible(f"nothing of {name} was promoted yet in {artifacts.url}")
    table = Table("", "number", "promoted", "users", "recall", "why", title=name)
    for entry in sorted([now, *now["history"]], key=lambda entry: -entry["number"]):
        table.add_row("*" if entry is now else "", *_row(entry))
    console.print(table)


def _row(entry: promotion.Entry) -> list[str]:
    figures = entry["figures"]
    recall = [f"{value:.4f}" for what, value in figures.items() if what.startswith("recall@") and "over" not in what]
    withdrawn = f", withdrawn {_time(entry['withdrawn'])}" if entry.get("withdrawn") else ""
    return [
        str(entry["number"]),
        _time(entry["promoted"]),
        f"{figures['users']:,.0f}" if "users" in figures else "",
        *(recall[:1] or [""]),
        f"{entry['reason']}{withdrawn}",
    ]


def _time(text: str) -> str:
    return text[:16].replace("T", " ")
