"""Texts made plain: every habit of exports undone, everything else left alone."""

import html
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.data.texts import MAX_CHARS, clean_text, clean_texts, flat_text

PLAIN = [
    "Don't miss it",
    "two  blanks\nand a line",
    "temperatures < 5 degrees and a pressure > 30",
    "if x<y and z>w, then a <b and c> d",
    "I <3 this, </3 that, -> and <-, <john@example.com>, List<String>",
    "AT&T, R&D, Q&A; a?b=1&copy=2",
    "(500) Days of Summer",
    "[REC]",
    "[Explicit] a song [Remastered]",
    "Nancy, the None, N/Ax, no nan here",
    "the data: a lot of it",
    "5 < 6 & 7 > 2",
    "\N{HEAVY BLACK HEART} 漢字、かな",
]
MESSY = {
    **dict.fromkeys(
        ["", "  ", "nan", "NaN", " None ", "null", "NULL", "N/A", "n/a", "NA", "#N/A", "<NA>", "NaT", "[]"], None
    ),
    **dict.fromkeys(
        ["<p></p>", "[]", "&nbsp;", "<p>nan</p>", "[nan]", "[None, '']", "<style>p {}</style>", "\x00"], None
    ),
    '<div class="desc"><p>A <b>lan</b>tern of&nbsp;oak &amp; brass.<br/>Fine.</p><style>.x{color:red}</style></div>': (
        "A lantern of oak & brass.\nFine."
    ),
    "<script>if (a < b) { x('<p>') }</script>kept<SCRIPT src='x'></SCRIPT>": "kept",
    f'a<span style="{"font: x; " * 30}">long</span> tag': "along tag",
    '<a title="1 > 0" href=x>link</a> <img alt="<3">end': "link end",
    "a<!-- a <b>comment</b> -->b <!-- open": "ab <!-- open",
    "use <style> for colours, <script> for games": "use for colours, for games",
    "text<style>p {color: red}": "text",
    "<ul><li>one<li>two</ul><table><tr><td>3<td>4</table>": "one\ntwo\n3 4",
    "<description><![CDATA[Some <i>text</i>]]></description>": "Some text",
    "&lt;p&gt;Twice &amp;amp; thrice&lt;/p&gt;": "Twice & thrice",
    "it&#39;s &#x201C;so&#x201D; &eacute;&Eacute; &unknown; &copy2020;": "it's “so” éÉ &unknown; &copy2020;",
    'cut off <a href="http://exam': "cut off",
    "<p>5 < 6 and <unknown> stays</p>": "5 < 6 and <unknown> stays",
    "['Home', 'Garden &amp; Tools']": "Home, Garden & Tools",
    '["a\\/b", "c", null, "nan"]': "a/b, c",
    "['it\\'s' \"two\"\n 'three']": "it's, two, three",
    "('a', 'b')": "a, b",
    "{'b', 'a'}": "a, b",
    "[['Books', 'Crime'], ['Books']]": "Books, Crime",
    '[{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}]': "Drama, Comedy",
    "[nan, 'nan is not', 'x']": "nan is not, x",
    "Naturopathic\\/Holistic": "Naturopathic/Holistic",
    "see data:image/png;base64,iVBORw0KGgo=": "see",
    "<p>x</p><img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>y": "x\ny",
    "a data:;base64," + "QUJD" * 400_000 + " b": "a  b",
    "a data:image/png;base64," + "\n".join(["QUJD" * 19] * 5) + "\nQUI= b": "a  b",
    " trimmed\u3000": "trimmed",
    "a\x00b\x1bc": "abc",
}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_stays(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(("text", "clean"), MESSY.items(), ids=range(len(MESSY)))
def test_messy_text_is_cleaned(text: str, clean: str | None) -> None:
    assert clean_text(text) == clean


def test_long_texts_are_cut_at_a_word() -> None:
    assert clean_text("word " * MAX_CHARS) == ("word " * (MAX_CHARS // 5)).strip()
    assert clean_text("x" * MAX_CHARS * 50) == "x" * MAX_CHARS


PIECES = ["<", ">", "</", "b", "p ", "a href='", '"', "=", "!--", "-->", "&lt;", "&amp;", "&#39;", ";", "[", "]"]
PIECES += ["<br>", "<style>", "</style>", "<x>", "</x>", " ", "\n", "nan", "data:a/b,", "\\/", "\x00", "é", "\xa0"]
PIECES += ["<![", "<?xml", "?>", "]]>", "{", "}", "1", "\\", "<svg>", "</", "<!doctype html>", "x", "![CDATA[", "'x', "]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=8)


@settings(max_examples=150)
@given(st.lists(st.none() | TEXTS, max_size=6), st.integers(0, 2))
@example(["<![x"], 0)
def test_a_column_is_cleaned_as_each_of_its_cells(texts: list[str | None], offset: int) -> None:
    column = pa.array(["sliced away"] * offset + texts, pa.string()).slice(offset)
    cleaned = clean_texts(column)
    assert cleaned.to_pylist() == [clean_text(text) if text else None for text in texts]
    assert clean_texts(cleaned).to_pylist() == cleaned.to_pylist()


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=9))
def test_escaping_text_and_cleaning_it_gives_the_text(text: str) -> None:
    plain = f"so {text} ."
    if clean_text(plain) == plain:  # It has no tag or entity of its own.
        assert clean_text(f"<p>{html.escape(plain)}</p>") == plain


@given(st.lists(st.text(st.sampled_from("ab'\" éB"), min_size=1).map(str.strip).filter(bool), min_size=1, max_size=5))
def test_a_list_reads_alike_however_it_is_written(parts: list[str]) -> None:
    expected = flat_text(parts)
    assert {clean_text(write(parts)) for write in (repr, json.dumps)} | {flat_text(np.array(parts))} == {expected}
    assert expected == ", ".join(dict.fromkeys(parts))


def test_clean_columns_are_not_copied() -> None:
    column = pa.array(["one clean text", None, "another clean text"])
    assert clean_texts(column) is column


@pytest.mark.parametrize("piece", ["<div>", "<!--", "<a href='", "<svg>", "<style>", "<![", "[", "<a ===", "<![if "])
def test_absurd_nesting_ends(piece: str) -> None:
    assert len(clean_text(piece * 20_000 + "x>") or "") <= MAX_CHARS
