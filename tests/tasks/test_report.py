"""Somebody's text in the pages of the UI."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from tasks.report import _inert, as_text, markdown_table


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![x](http://elsewhere/a.png)",
        "`code` **bold** _it_ ~~no~~ # head",
        "1. one\n- two",
        "http://elsewhere/x",
        "a | b & c &lt; \\| d",
        "<http://elsewhere>",
        "www.elsewhere.example and a@b.example",
        "- one",
        "1984) two",
        "=====",
        "Dr. Strange: AC/DC (1984) - 50% off!",
    ],
)
def test_a_text_reads_as_it_is_written_and_does_nothing(hostile):
    written = as_text(hostile)
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    text = html.escape(" ".join(hostile.split()), quote=False)
    assert reader.render(written).replace("&quot;", '"') == f"<p>{text}</p>\n"
    assert not re.search(r"//|www\.|(?<!\\)@", written)
    table = reader.render(markdown_table([{"title": written}]))
    assert table.replace("&quot;", '"').count(f"<td>{text}</td>") == 1 and table.count("<td>") == 1


def test_a_harmless_title_is_left_alone():
    assert as_text("Toy Story (1995)") == "Toy Story (1995)"
    assert as_text("Dr. Strange: AC/DC - 50% off!") == "Dr. Strange: AC/DC - 50% off!"
    assert as_text("between 0.1957 and 0.2396, “café”") == "between 0.1957 and 0.2396, “café”"


def test_what_commands_a_terminal_or_turns_a_line_round_is_a_blank():
    assert as_text("a\x1b[31mb\u202ec") == "a \\[31mb c"


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "[click](javascript:alert(1))", "http://elsewhere/x"])
def test_a_cell_of_the_ui_holds_no_tag_and_no_link(hostile):
    assert _inert(hostile) == as_text(hostile)
    assert (_inert("Toy Story (1995)"), _inert(0.5), _inert(float("nan"))) == ("Toy Story (1995)", 0.5, "nan")
