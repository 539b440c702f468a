"""Whether a sentence names only what its evidence holds."""

import re
from collections.abc import Iterable, Sequence
from functools import cache

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['\u2019][^\W_]+)*")
"""A word, or one sign of a script that puts no blanks between words."""
_GENITIVE = re.compile(r"['\u2019]s$")
_QUOTED = re.compile(
    r"[\"\u201c\u201d\u201e\u00ab\u2039](.+?)[\"\u201c\u201d\u00bb\u203a]|(?<!\w)['\u2018*_](.+?)['\u2019*_](?!\w)"
)
_YEAR = re.compile(r"\s*[(\[]\d{4}[)\]]\s*$")
_ARTICLE_LAST = re.compile(r"^(.*), (the|a|an|le|la|les|l'|il|el|los|las|der|die|das)$", re.IGNORECASE)
_LONGEST = 12
"""Words of a name that are looked at."""
_NAMED = "\0"


@cache
def stop_words() -> frozenset[str]:
    """English words that stand in any text."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # takes a second to load; few runs need it

    return frozenset(ENGLISH_STOP_WORDS)


def spellings(name: str) -> list[str]:
    """How people write a name: as it is, without its year, with its article in front, and without its subtitle."""
    bare = _YEAR.sub("", name).strip()
    article = _ARTICLE_LAST.match(bare)
    plain = f"{article[2]} {article[1]}" if article else bare
    found = [name, bare, plain, *(article.groups()[:1] if article else ())]
    found += [one.partition(":")[0] for one in (bare, plain) if ": " in one]
    return list(dict.fromkeys(one.strip() for one in found if one.strip()))


def without_names(sentence: str, evidence: Iterable[str]) -> str:
    """A sentence with a sign in the place of each name of its evidence that stands in it letter by letter."""
    for spelling in sorted({one for name in evidence for one in spellings(name)}, key=len, reverse=True):
        sentence = sentence.replace(spelling, _NAMED)
    return sentence


class Catalogue:
    """The names of all items, to find those that a sentence speaks of."""

    def __init__(self, names: Iterable[str]) -> None:
        # By the words of a name, in small letters: whether it is spelt so.
        self._in_small_letters: dict[str, bool] = {}
        self._longest = 0
        for name in names:
            for spelling in spellings(name):
                if words := _words(spelling)[:_LONGEST]:
                    self._longest = max(self._longest, len(words))
                    telling = [word for word in words if word.casefold() not in stop_words()]
                    self._in_small_letters.setdefault(_small(words), all(word[0].islower() for word in telling))

    def outside(self, sentence: str, evidence: Sequence[str]) -> str | None:
        """The first name in a sentence that its evidence does not hold; None if there is none.

        What counts as a name: the name of an item of the catalogue; whatever stands in quotation marks; and a word that
        begins with a capital within the sentence. A name of one word, such as "Love", counts where it is spelt as one.
        In doubt it is a name: a sentence that is refused for nothing costs less than one that misleads.

        Args:
            sentence: What a model wrote.
            evidence: The names and words that it was given.
        """
        given = [words for one in evidence for spelling in spellings(one) if (words := _words(spelling))]
        allowed = {_small(words[:_LONGEST]) for words in given}
        most = max([self._longest, *map(len, given)], default=0)
        known = {word.casefold() for words in given for word in words} | {"i"}
        for quoted in _QUOTED.finditer(without_names(sentence, evidence)):
            inside: str = quoted[1] or quoted[2]
            if (words := _words(inside)) and _small(words[:_LONGEST]) not in allowed:
                return inside
        words, place = _words(sentence), 0
        while place < len(words):
            # The longest name counts: "Toy Story 2" is not "Toy Story" with a number.
            length = self._longest_name(words, place, allowed, most)
            if length and _small(words[place : place + length]) not in allowed:
                return " ".join(words[place : place + length])
            if not length and place and words[place][0].isupper() and words[place].casefold() not in known:
                return words[place]
            place += length or 1
        return None

    def _longest_name(self, words: Sequence[str], place: int, allowed: set[str], most: int) -> int:
        """How many words the longest name has that begins at this place; 0 if none does."""
        for length in range(min(most, _LONGEST, len(words) - place), 0, -1):
            said = words[place : place + length]
            if _small(said) in allowed or self._names(said):
                return length
        return 0

    def _names(self, said: Sequence[str]) -> bool:
        """Whether these words of a sentence are meant as the name of an item."""
        in_small_letters = self._in_small_letters.get(_small(said))
        if in_small_letters is None:
            return False
        telling = [word for word in said if word.casefold() not in stop_words()]
        if not telling:  # such as "It" or "Up", which a capital gives away unless it opens the sentence
            return False
        return len(said) > 1 or in_small_letters or not telling[0][0].islower()


def _words(text: str) -> list[str]:
    return [_GENITIVE.sub("", word) for word in _WORD.findall(text)]


def _small(words: Iterable[str]) -> str:
    return " ".join(word.casefold() for word in words)
