"""A whole run on one page that stands alone: a file to open, mail or keep."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

_CONTENT = "{{content}}"
_TITLE = "{{title}}"
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(title: str, content: Mapping[str, Any], template: str = "page.html") -> str:
    """The page as HTML.

    title: plain text; content: plain JSON values, of which the template, a file beside this one, says what it shows.
    All of it may be hostile: it stands in the page as data, where no tag can begin or end, and is shown as text.
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Data last: what looks like a place to fill in there is left alone.
    before, after = _template(template).split(_CONTENT)
    return before.replace(_TITLE, _html(title)) + _inert(text) + after


def _inert(text: str) -> str:
    for character, escape in _ESCAPED.items():
        text = text.replace(character, escape)
    return text


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


@cache
def _template(name: str) -> str:
    """A page with the style and the script that all share."""
    text = _file(name)
    return text.replace("{{style}}", _file("style.css")).replace("{{parts}}", _file("parts.js"))


def _file(name: str) -> str:
    return (files("rlmrec_core.reports") / name).read_text(encoding="utf-8")
