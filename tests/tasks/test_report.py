"""Somebody's text in the pages of the UI."""

import html
import re

import pytest
from markdown import markdown

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
    shown = markdown(as_text(hostile), extensions=["tables"])
    assert "<" not in shown.removeprefix("<p>").removesuffix("</p>")
    assert html.unescape(shown) == f"<p>{' '.join(hostile.split())}</p>"
    assert not re.search(r"//|www\.|@", as_text(hostile))
    row = markdown_table([{"title": as_text(hostile)}]).splitlines()[2]
    assert row.count("|") == 2


def test_a_harmless_title_needs_no_entities():
    assert as_text("Toy Story (1995)") == "Toy Story (1995)"
    assert as_text("Dr. Strange: AC/DC - 50% off!") == "Dr. Strange: AC/DC - 50% off!"


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "[click](javascript:alert(1))", "![x](//elsewhere/a)"]
)
def test_a_cell_of_the_ui_holds_no_tag_and_no_link(hostile):
    cell = _inert(hostile)
    assert html.unescape(html.unescape(cell)) == hostile
    shown = markdown(cell).removeprefix("<p>").removesuffix("</p>")
    assert "<" not in shown and "<" not in html.unescape(shown)
    assert (_inert("Toy Story (1995)"), _inert(0.5), _inert(float("nan"))) == ("Toy Story (1995)", 0.5, "nan")
