from rich.console import Console

from flows.terminal import plain


def test_neither_markup_nor_the_terminals_commands_work(capsys):
    Console(width=200).print(plain("[red]a[/red] [/nothing] \x1b[31mb\x1b[0m\x07\u202ec\nd"))
    assert capsys.readouterr().out == "[red]a[/red] [/nothing]  [31mb [0m  c d\n"
