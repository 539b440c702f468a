"""What the console commands share: an option, and how texts of other people are shown."""

from typing import Annotated

import typer
from rich.text import Text

StoreOption = Annotated[str, typer.Option("--store", envvar="RLMREC_STORE", help="Folder or bucket of the artifacts")]


def plain(text: object) -> Text:
    """The text as it reads, with a blank for each character that is none.

    Neither rich's markup nor a terminal's own commands work in it.
    """
    return Text("".join(character if character.isprintable() else " " for character in str(text)))
