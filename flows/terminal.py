"""Texts of other people in the terminal: neither rich's markup nor a terminal's own commands work in them."""

from rich.text import Text


def plain(text: object) -> Text:
    """The text as it reads, with a blank for each character that is none."""
    return Text("".join(character if character.isprintable() else " " for character in str(text)))
