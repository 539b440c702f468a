from rich.console import Console as Anything
from rich.table import Table

from flows.terminal import Console, plain

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
