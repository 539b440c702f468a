"""`rlmrec download`: raw data from its publishers."""

import logging
from pathlib import Path
from typing import Annotated

import pooch
import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from flows.terminal import Console
from rlmrec_core.data import DataError
from rlmrec_core.data.download import fetch
from rlmrec_core.data.releases import RELEASES

console = Console(soft_wrap=True)


def download(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(RELEASES)}; yelp explains what you do")],
    to: Annotated[Path, typer.Option(help="Folder that gets a folder of the release")] = Path("data"),
    category: Annotated[str | None, typer.Option(help="Category or genre, where the release has them")] = None,
) -> None:
    """Fetch raw data from its publisher; run again, it goes on where it broke off and checks what is there."""
    if release := RELEASES.get(name):
        console.print(f"terms of use: {release.page}")
    pooch.get_logger().setLevel(logging.WARNING)  # the bars say it all
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
            tasks = {}

            def show(file: str, done: int, total: int | None) -> None:
                if file not in tasks:
                    tasks[file] = bars.add_task(file)
                bars.update(tasks[file], completed=done, total=total)

            where = fetch(name, to, show, category=category)
    except DataError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(1) from None
    console.print(f"here it is: {where}", markup=False)
