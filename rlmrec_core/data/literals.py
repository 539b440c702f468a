"""Python literals rewritten as JSON, a block of lines at once, with array operations instead of a parser.

Older releases print one Python dictionary per line: 'single quotes', u'prefixes', None. Parsing them with
`ast.literal_eval` takes tens of microseconds per line. What has no counterpart in JSON (tuples, long escapes, bytes) is
left as it is: a JSON parser refuses it, and the caller then gives that line to `ast.literal_eval`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_NEWLINE, _QUOTE, _APOSTROPHE, _BACKSLASH, _ZERO = b"\n\"'\\0"
_DROP: Final = 0

# What may follow a backslash: left as it is, since it means the same in JSON or is refused there; or anything else,
# which Python takes for a backslash and that character.
_LEFT_ALONE = np.frombuffer(b"\"'\\nrtbfxuUNav01234567\n", np.uint8)


@dataclass(frozen=True)
class _Strings:
    """The string literals of a block: the places of their opening and closing quotes, ascending."""

    opening: Places
    closing: Places

    def owner(self, places: Places) -> Places:
        """For each place the number of the literal that it lies within, -1 outside of all."""
        if not len(self.opening):
            return np.full(len(places), -1)
        number = np.searchsorted(self.opening, places, side="right") - 1
        return np.where((number >= 0) & (places < self.closing[number]), number, -1)


def as_json(block: bytes) -> bytes:
    """The block with its Python literals in JSON's notation, line by line. JSON is left as it is.

    A line that JSON and Python read differently never comes out as valid JSON with another meaning than Python's.
    """
    if _DROP in block:  # marks what is dropped below, and is valid in neither notation
        return block
    raw = np.frombuffer(block, np.uint8)
    out = raw.copy()
    escaped = _escaped(raw)
    strings = _strings(raw, escaped)
    out[strings.opening] = out[strings.closing] = _QUOTE
    before = strings.opening[strings.opening > 0] - 1
    out[before[raw[before] == ord("u")]] = ord(" ")
    _rewrite_constants(raw, out, strings)
    return _with_escapes(raw, out, escaped, strings).tobytes()


def _escaped(raw: Bytes) -> Places:
    """Places of the characters that a backslash before them gives another meaning."""
    backslashes = np.flatnonzero(raw == _BACKSLASH)
    starts = np.flatnonzero(np.diff(backslashes, prepend=-2) != 1)
    within_run = np.arange(len(backslashes)) - np.repeat(starts, np.diff(starts, append=len(backslashes)))
    places: Places = backslashes[within_run % 2 == 0] + 1
    return places[places < len(raw)]


def _strings(raw: Bytes, escaped: Places) -> _Strings:
    """All lines are walked at once, one literal of each per step: from a quote to the next of its kind on its line."""
    is_quote = (raw == _QUOTE) | (raw == _APOSTROPHE)
    is_quote[escaped] = False
    quotes = np.flatnonzero(is_quote)
    n = len(quotes)
    line = np.append(np.searchsorted(np.flatnonzero(raw == _NEWLINE), quotes), -1)
    partner = np.full(n, n)
    for kind in (_QUOTE, _APOSTROPHE):
        same = np.flatnonzero(raw[quotes] == kind)
        partner[same[:-1]] = same[1:]
    opening = [np.zeros(0, np.int64)]
    at = np.flatnonzero(np.diff(line[:-1], prepend=-1))
    while len(at):
        at = at[line[partner[at]] == line[at]]
        opening.append(at)
        following = partner[at] + 1
        at = following[line[following] == line[at]]
    chosen = np.sort(np.concatenate(opening))
    return _Strings(quotes[chosen], quotes[partner[chosen]])


def _rewrite_constants(raw: Bytes, out: Bytes, strings: _Strings) -> None:
    """True, False and None outside of strings become true, false and null, which are just as long."""
    for word, constant in ((b"True", b"true"), (b"False", b"false"), (b"None", b"null")):
        places = np.flatnonzero(raw == word[0])
        places = places[places <= len(raw) - len(word)]
        places = places[strings.owner(places) < 0]
        for offset, letter in enumerate(word):
            places = places[raw[places + offset] == letter]
        for offset, letter in enumerate(constant):
            out[places + offset] = letter


def _with_escapes(raw: Bytes, out: Bytes, escaped: Places, strings: _Strings) -> Bytes:
    """The escapes that JSON lacks, and the double quotes within single ones, which it wants escaped."""
    follower = raw[escaped]
    out[escaped[follower == _APOSTROPHE] - 1] = _DROP
    hexadecimal = escaped[follower == ord("x")]
    out[hexadecimal] = ord("u")
    bare = np.setdiff1d(np.flatnonzero(raw == _QUOTE), escaped)
    owner = strings.owner(bare)
    inner = bare[(owner >= 0) & (bare != strings.opening[owner])] if len(strings.opening) else bare[:0]
    unknown = escaped[~np.isin(follower, _LEFT_ALONE)]
    backslashes, zeros = np.concatenate([inner, unknown]), np.repeat(hexadecimal + 1, 2)
    if len(backslashes) or len(zeros):
        values = np.repeat(np.array([_BACKSLASH, _ZERO], np.uint8), [len(backslashes), len(zeros)])
        out = np.insert(out, np.concatenate([backslashes, zeros]), values)
    return out[out != _DROP] if (follower == _APOSTROPHE).any() else out
