import sys

import pytest
from rich.console import Console as Anything
from rich.table import Table

from flows.terminal import Console, own_command, plain

HOSTILE = "[red]a[/red] [/nothing] \x1b[31mb\x1b[0m\x07\x9b2J\u202ec\nd:e:"


def test_neither_markup_nor_the_terminals_commands_work(capsys):
    Anything(width=200).print(plain(HOSTILE))
    assert capsys.readouterr().out == "[red]a[/red] [/nothing]  [31mb [0m  2J c d:e:\n"


def test_a_text_that_nobody_thought_of_commands_no_terminal(capsys):
    Console(width=200).print(HOSTILE, markup=False)
    assert capsys.readouterr().out == "[red]a[/red] [/nothing]  [31mb [0m  2J c\nd:e:\n"
    table = Table("\x1b[2J")
    table.add_row("\x1b]0;title\x07")
    Console(width=200).print(table)
    assert not set("\x1b\x07") & set(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("path", "called", "hint"),
    [
        ("{home}/.venv/bin", "{home}/.venv/bin/rlmrec", "rlmrec"),
        ("/usr/bin", "{home}/.venv/bin/rlmrec", ".venv/bin/rlmrec"),
        ("/usr/bin", ".venv/bin/rlmrec", ".venv/bin/rlmrec"),
        ("{home}/other", "{home}/.venv/bin/rlmrec", ".venv/bin/rlmrec"),
        ("/usr/bin", "/opt/env/bin/rlmrec", "/opt/env/bin/rlmrec"),
        ("/usr/bin", "/usr/bin/pytest", "rlmrec"),
    ],
)
def test_a_hint_can_be_typed_as_it_stands(tmp_path, monkeypatch, path, called, hint):
    for folder in (".venv/bin", "other"):
        script = tmp_path / folder / "rlmrec"
        script.parent.mkdir(parents=True)
        script.touch(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path.format(home=tmp_path))
    monkeypatch.setattr(sys, "argv", [called.format(home=tmp_path)])
    assert own_command() == hint
