"""What the console commands share: an option, and how texts of other people are shown."""

from typing import Annotated, Any

import rich.console
import typer
from rich.text import Text

StoreOption = Annotated[str, typer.Option("--store", envvar="RLMREC_STORE", help="Folder or bucket of the artifacts")]


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
