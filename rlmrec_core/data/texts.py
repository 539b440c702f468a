"""Texts as people have them made into plain text, and how long texts are.

Exports of shops and releases of reviews write missing text as `nan`, keep HTML, entities and embedded pictures, and
print lists as strings. `clean_text` undoes all that; `clean_texts` applies it to those cells of a column that need it.
"""

import ast
import html
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from html.entities import html5
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from rlmrec_core.data.markup import without_tags

Bytes = npt.NDArray[np.uint8]
Lengths = npt.NDArray[np.int32]

MAX_CHARS = 30_000
"""Longer texts are cut at a word; the longest reviews of the public releases are about as long."""

_RAW_CHARS = 8 * MAX_CHARS  # Of text and markup together; what follows is not looked at.

_NO_TEXT = frozenset(["", "nan", "-nan", "none", "null", "nil", "n/a", "#n/a", "#na", "<na>", "nat", r"\n"])
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_DATA_URI = re.compile(
    r"\bdata:(?:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*|;base64),[^\s\"'<>)\]]*"
    # Base64 may be broken into lines, which are long but for the last.
    r"(?:(?:\s+[A-Za-z0-9+/]{60,}={0,2})+(?:\s+[A-Za-z0-9+/]{1,59}={1,2})?)?",
    re.ASCII | re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")

# Strings as Python and numpy print them within a list, with what numpy leaves out after them; words that are no values.
_PRINTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(\s*(?=['"]))?|\b(?:nan|null|NaN|NaT)\b""", re.DOTALL)
_CLOSING = {"[": "]", "(": ")", "{": "}"}

# The first and last bytes of a text that may have to be trimmed, or be a list.
_EDGE = np.zeros(256, bool)
_EDGE[[*b" \t\n\r[({"]] = _EDGE[0x80:] = True


# Bytes that clean text does not have, and the last of those sequences that it does not have.
_LONGER = (b"data:", "\xa0".encode(), "\ufeff".encode())
_SUSPECT = bytes(
    (byte < 32 and byte not in b"\t\n\r") or byte in b"<&\\\x7f" or any(byte == mark[-1] for mark in _LONGER)
    for byte in range(256)
)
_SMALL = [0x20 if chr(byte).isalpha() and byte < 0x80 else 0 for byte in range(256)]


def clean_text(text: str) -> str | None:
    """Plain text without markup, or None where nothing is left.

    Tags go, with what `<style>` and `<script>` hold; blocks begin a new line; entities become characters; files
    written into the text (data URIs) go; a list printed as a string becomes its parts, "a, b"; `nan`, `None`, `null`,
    `NA` and the like are no text. "< 5 degrees, > 30" stays: only what HTML knows, or what the text closes again, is
    a tag. At most MAX_CHARS characters remain. Cleaning what is clean changes nothing.
    """
    for _ in range(4):  # Markup may be escaped once or twice more.
        before, text = text, _cleaned(text)
        if text == before:
            break
    return None if text == "NA" or text.lower() in _NO_TEXT else text


def _cleaned(text: str) -> str:
    text = _CONTROL.sub("", encodable(text)).strip()
    if (parts := _printed_list(text)) is not None:
        text = flat_text(parts) or ""
    if "data:" in text.lower():
        text = _DATA_URI.sub("", text)
    text = text[:_RAW_CHARS]
    if "<" in text:
        text = without_tags(text)
    text = _ENTITY.sub(_character, text).replace("\xa0", " ").replace("\\/", "/").strip()
    return text if len(text) <= MAX_CHARS else _cut(text)


def _character(entity: re.Match[str]) -> str:
    known = entity[0][1] == "#" or entity[0][1:] in html5
    return html.unescape(entity[0]) if known else entity[0]


def _cut(text: str) -> str:
    """The beginning of the text, to the last white space if there is any near."""
    words = text[: MAX_CHARS + 1].rsplit(maxsplit=1)
    return words[0].rstrip() if len(words) == 2 and len(words[0]) > MAX_CHARS // 2 else text[:MAX_CHARS]


def _printed_list(text: str) -> list[Any] | tuple[Any, ...] | set[Any] | None:
    """The list, tuple or set that the text prints, in the notation of JSON, Python or numpy; None if it does not."""
    if _CLOSING.get(text[:1]) != text[-1:] or len(text) > _RAW_CHARS:
        return None
    found: Any = None
    # The errors are how the parsers give up on what is no literal, and on absurd nesting.
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
    if found is None:
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes that Python does not know
            found = ast.literal_eval(_PRINTED.sub(_literal, text))
    return found if isinstance(found, list | tuple | set) else None


def _literal(printed: re.Match[str]) -> str:
    return f"{printed[1]}, " if printed[2] is not None else printed[1] or "None"


def clean_texts(texts: pa.Array) -> pa.Array:
    """The strings, each as `clean_text` leaves it; null where there is no text. If all are clean, the same array."""
    doubtful = _doubtful(texts)
    if not doubtful.any():
        return texts
    cleaned = [clean_text(text) for text in texts.filter(pa.array(doubtful)).to_pylist()]
    return pc.replace_with_mask(texts, pa.array(doubtful), pa.array(cleaned, pa.string()))


def _doubtful(texts: pa.Array) -> npt.NDArray[np.bool_]:
    """Which texts may not be clean, found without a look at each: most need none."""
    valid: npt.NDArray[np.bool_] = texts.is_valid().to_numpy(zero_copy_only=False)
    _, offsets, content = texts.buffers()
    if not valid.any() or content is None:
        return valid
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    begins, ends = bounds[:-1] - bounds[0], bounds[1:] - bounds[0]
    raw = np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]
    lengths = ends - begins
    odd = (lengths <= max(map(len, _NO_TEXT))) | (lengths > MAX_CHARS)
    if len(raw):
        last = len(raw) - 1
        odd |= _EDGE[raw[np.minimum(begins, last)]] | _EDGE[raw[np.maximum(ends - 1, 0)]]
        odd[np.searchsorted(begins, _suspect_places(raw), side="right") - 1] = True
    doubtful: npt.NDArray[np.bool_] = odd & valid
    return doubtful


def _suspect_places(raw: Bytes) -> npt.NDArray[np.int64]:
    """Where something stands that may have to go."""
    marked = np.frombuffer(raw.tobytes().translate(_SUSPECT), bool)
    places = np.flatnonzero(marked)
    # Most colons, and most bytes that end such a long character, are something else.
    for mark in _LONGER:
        *before, last = mark
        alike = raw[places] == last
        for distance, byte in enumerate(reversed(before), start=1):
            alike[alike] &= (raw[np.maximum(places[alike] - distance, 0)] | _SMALL[byte]) == byte
        places = places[alike | (raw[places] != last)]
    return places


def flat_text(value: Any, separator: str = ", ") -> str | None:
    """Whatever a release keeps in a field of an item, as clean text: lists joined, each part once; None where empty."""
    if isinstance(value, str):
        return clean_text(value)
    return separator.join(dict.fromkeys(_parts(value))) or None


def _parts(value: Any) -> Iterator[str]:
    for leaf in leaves(value):
        if isinstance(leaf, str | int | float) and not isinstance(leaf, bool) and (text := clean_text(str(leaf))):
            yield text


def leaves(value: Any) -> Iterator[Any]:
    """What lists, sets and objects hold, however deep, in their order; of an object that has one, the name alone."""
    if isinstance(value, dict):
        named = value.get("name")
        value = [named] if named is not None else list(value.values())
    elif isinstance(value, set):
        value = sorted(value, key=str)  # Their order differs from one run to the next.
    if isinstance(value, list | tuple | np.ndarray):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def encodable(text: str) -> str:
    """The text with halves of surrogate pairs joined, and replaced where the other half is missing."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass(frozen=True)
class TextLengths:
    """Lengths in characters; what is missing has length 0."""

    _interactions: ds.Dataset
    _items: ds.Dataset
    _item_ids: pa.Array

    def reviews(self) -> Lengths:
        """(n_interactions,) of the raw table's reviews, in its order."""
        batches = self._interactions.to_batches(columns=["review"], batch_readahead=2, fragment_readahead=1)
        return np.concatenate([np.zeros(0, np.int32), *(lengths_of(batch.column("review")) for batch in batches)])

    def items(self) -> Lengths:
        """(n_item_ids,) of title and description together."""
        known, lengths = [], [np.zeros(0, np.int32)]
        for batch in self._items.to_batches(columns=["item_id", "title", "description"]):
            known.append(batch.column("item_id"))
            lengths.append(lengths_of(batch.column("title")) + lengths_of(batch.column("description")))
        position = pc.index_in(self._item_ids, value_set=pa.chunked_array(known, pa.string()).combine_chunks())
        # The length at the end is that of items without an entry.
        at = pc.fill_null(position, -1).to_numpy(zero_copy_only=False)
        total: Lengths = np.concatenate([*lengths, np.zeros(1, np.int32)])[at]
        return total


TEXTS_CUT = f"texts of more than {MAX_CHARS:,} characters, cut"


def n_long(texts: pa.Array) -> int:
    """How many of the texts are longer than MAX_CHARS, markup included."""
    if (pc.max(pc.binary_length(texts)).as_py() or 0) <= MAX_CHARS:
        return 0
    return int((lengths_of(texts) > MAX_CHARS).sum())


def lengths_of(texts: pa.Array) -> Lengths:
    """Characters of each text."""
    lengths: Lengths = pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False)
    return lengths
