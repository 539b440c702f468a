"""The library speaks to whoever uses it, be it a command, a flow or a notebook: its messages name no option of one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPTION = re.compile(r"(?<![\w-])--[a-z]")


def texts(source: str) -> Iterator[str]:
    """The strings of a module, but for its docstrings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    yield from (str(node.value) for node in strings if id(node) not in docs)


def test_library_messages_name_no_option_of_a_command() -> None:
    files = [file for room in ("rlmrec_core", "storage") for file in (ROOT / room).rglob("*.py")]
    found = [f"{file.name}: {text}" for file in files for text in texts(file.read_text()) if OPTION.search(text)]
    assert not found


def test_an_option_in_a_message_is_found() -> None:
    source = (
        'def f(place):\n    """Not --this."""\n    raise OSError(f"{place} is full: choose another with --store")\n'
    )
    assert [text for text in texts(source) if OPTION.search(text)] == [" is full: choose another with --store"]
    assert not OPTION.search("a -- b, c--d, ---")
