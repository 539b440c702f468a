"""What the console commands share: an option, and how texts of other people are shown."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import rich.console
import typer
from rich.text import Text

from flows.services import absolute

StoreOption = Annotated[
    str,
    # A relative folder starts where the command was given, whatever RLMREC_HOME becomes.
    typer.Option("--store", envvar="RLMREC_STORE", callback=absolute, help="Folder or bucket of the artifacts"),
]


def own_command() -> str:
    """How whoever reads a hint calls this command again: by its name where the PATH leads to it, else by its file."""
    script = Path(sys.argv[0]).absolute()
    if script.name != "rlmrec":  # a module, or a test
        return "rlmrec"
    found = shutil.which("rlmrec")
    if found and Path(found).absolute() == script:
        return "rlmrec"
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


class Console(rich.console.Console):
    """A console on which no text commands the terminal, whoever wrote it: a blank stands for what is no character."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich, which makes all texts by it."""
        return super().render_str(_readable(text), **options)


def plain(text: object) -> Text:
    """The text as it reads, on one line: neither rich's markup nor a terminal's own commands work in it."""
    return Text(_readable(str(text)).replace("\n", " "))


def _readable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
