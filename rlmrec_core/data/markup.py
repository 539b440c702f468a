"""HTML within texts: what is a tag and what is only a less-than sign.

The parser is that of the standard library, which only finds the tags: it builds no tree, so that no depth of nesting
harms it. Descriptions and reviews are not documents, and a parser of documents takes "x<y and z>w" for a tag; here a
tag is one that HTML knows, with attributes in the form of attributes, or one that the text closes again.
"""

import re
from collections.abc import Set
from html.parser import HTMLParser
from typing import Any


def _names(separated: str) -> frozenset[str]:
    return frozenset(separated.split())


_BLOCKS = _names(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption "
    "figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav ol option p pre section "
    "select summary table tbody tfoot thead title tr ul"
)
_CELLS = frozenset(["td", "th"])
_INLINE = _names(
    "a abbr acronym area audio b base basefont bdi bdo big button canvas cite code col colgroup data datalist del dfn "
    "em embed font frame frameset i img input ins kbd label link map mark marquee meta meter nobr object optgroup "
    "output param picture progress q rp rt ruby s samp slot small source span strike strong sub sup textarea time "
    "track tt u var video wbr"
)
_NOT_TEXT = frozenset(["iframe", "noembed", "noframes", "noscript", "script", "style", "svg", "template"])
_KNOWN = _BLOCKS | _CELLS | _INLINE | _NOT_TEXT
_BARE_ATTRIBUTES = _names(
    "allowfullscreen async autofocus autoplay checked clear compact controls default defer disabled download hidden "
    "ismap itemscope loop multiple muted noshade novalidate nowrap open readonly required reversed selected"
)

_LESS, _AND = "\x01", "\x02"  # Stand for < and & that are text; control characters were removed before.
_OPENING = re.compile(r"<(/?)([A-Za-z][^\s/<>]*)?")
_CLOSED = re.compile(r"</([A-Za-z][^\s/<>]*)\s*>")
_DECLARATION = re.compile(r"!doctype\b|\?xml\b|\?php\b", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->|<!\[CDATA\[|\]\]>|<!\[(?:end)?if\b[^<>]*>", re.DOTALL | re.IGNORECASE)


def without_tags(text: str) -> str:
    """The text without its tags, comments and what is not to be read; blocks begin a new line. Entities are left."""
    marked = _marked(text)
    if "<" not in marked:
        return marked.replace(_LESS, "<")
    skipped = _NOT_TEXT & {found[1].lower() for found in _CLOSED.finditer(marked)}
    parser = _Text(skipped | {"script", "style"} if "{" in marked else skipped)
    parser.feed(marked.replace("&", _AND))
    parser.close()
    plain = "".join(parser.pieces).replace(_AND, "&").replace(_LESS, "<")
    return "\n".join(filter(None, (" ".join(line.split()) for line in plain.split("\n"))))


def _marked(text: str) -> str:
    """The text with only those less-than signs left that begin a tag or a declaration; without comments."""
    commented, ends, rest = text.rpartition("-->")
    text = _COMMENT.sub("", commented + ends + rest.replace("<!--", f"{_LESS}!--"))
    opened = {found[2].lower() for found in _OPENING.finditer(text) if found[2] and not found[1]}
    tags = _KNOWN | (opened & {found[1].lower() for found in _CLOSED.finditer(text)})
    whole, close, rest = text.rpartition(">")
    # A tag that a limit of length cut off can only stand at the end.
    before, _, cut = rest.rpartition("<")
    if "=" in cut and cut.split(maxsplit=1)[0].lower() in tags:
        rest = before
    rest = rest.replace("<", _LESS)

    def sign(found: re.Match[str]) -> str:
        is_tag = found[2].lower() in tags if found[2] else _DECLARATION.match(text, found.end())
        return found[0] if is_tag else _LESS + found[0][1:]

    text = whole + close
    return _OPENING.sub(sign, text) + rest


class _Text(HTMLParser):
    """Collects the text between the tags, but for that in the elements `skipped`."""

    def __init__(self, skipped: Set[str]) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self._to_skip = skipped
        self._skipped: list[str] = []
        """Elements that are open and not to be read."""

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if attrs and not any(value is not None or name in _BARE_ATTRIBUTES for name, value in attrs):
            self.handle_data(self.get_starttag_text() or "")  # "a <b and c> d"
        elif tag in self._to_skip:
            self._skipped.append(tag)
        else:
            self.handle_data("\n" if tag in _BLOCKS else " " if tag in _CELLS else "")

    def set_cdata_mode(self, *element: Any, **options: Any) -> None:
        """Let no tag be found in what follows, unless what follows is to be read."""
        if self._skipped:
            super().set_cdata_mode(*element, **options)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _NOT_TEXT:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._skipped:
            if tag == self._skipped[-1]:
                self._skipped.pop()
        elif tag in _BLOCKS:
            self.pieces.append("\n")
