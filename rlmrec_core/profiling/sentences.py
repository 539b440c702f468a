"""Sentences and how they are weighed: TF-IDF vectors, centrality, and a choice that is central yet diverse."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

Scores = npt.NDArray[np.float64]
# Not after an initial or a short title: "J. Doe", "St. Louis".
_BREAK = re.compile(r"(?<=[.!?…])(?<!\b[A-Z]\.)(?<!\b[A-Z][a-z]\.)[\"')\]]*\s+|\s*[\r\n]+\s*")
_WORD = r"(?<!['\u2019])\b[^\W\d_]\w+\b(?!['\u2019])"  # neither part of "doesn't" or "she'll"
_MARKUP = re.compile(r"<[^<>]{1,80}>")
_SAME = 0.9  # cosine from which a sentence only repeats another
_TELLING = 4  # words from which a sentence of a review tells something
_LONGEST = 50  # words: a longer sentence is cut, so that one cannot fill a profile


def split_sentences(text: str | None) -> list[str]:
    """The sentences of a text without markup; those longer than 50 words are cut."""
    parts = _BREAK.split(_MARKUP.sub(" ", text or ""))
    return [sentence for part in parts if (sentence := _clip(part))]


def split_statements(review: str | None) -> list[str]:
    """The sentences of a review that say more than "Not bad."; all of them where none does, as in tags."""
    sentences = split_sentences(review)
    return [sentence for sentence in sentences if len(sentence.split()) >= _TELLING] or sentences


def _clip(sentence: str) -> str:
    words = sentence.split()
    return " ".join(words) if len(words) <= _LONGEST else " ".join(words[:_LONGEST]) + "…"


def fit_tfidf(sentences: Iterable[str]) -> "TfidfVectorizer | None":
    """TF-IDF over words that at least two sentences hold; None where no word does."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to load; only this needs it

    vectorizer = TfidfVectorizer(
        stop_words="english", token_pattern=_WORD, min_df=2, sublinear_tf=True, dtype=np.float32
    )
    try:
        return vectorizer.fit(sentences)
    except ValueError:  # scikit-learn's way of saying that no word is left
        return None


def select(vectors: sp.csr_matrix, scores: Scores, words: Sequence[int], budget: int, most: int) -> list[int]:
    """Rows chosen one by one for score less likeness to those chosen (MMR, Carbonell and Goldstein 1998), ties by row.

    vectors: (n, terms), unit rows; scores: (n,), greater is better, -inf never; words: length of each row's sentence.
    Chooses at most `most` rows with together at most `budget` words.
    """
    chosen: list[int] = []
    lengths, likeness = np.asarray(words), np.zeros(len(scores))
    open_scores = np.where(lengths > 0, scores, -np.inf)
    while len(chosen) < most:
        open_scores[lengths > budget] = -np.inf
        if not len(open_scores) or not np.isfinite(best := (open_scores - likeness).max()):
            break
        pick = int(np.flatnonzero(open_scores - likeness >= best - 1e-9)[0])
        chosen.append(pick)
        budget -= int(lengths[pick])
        open_scores[pick] = -np.inf
        likeness = np.maximum(likeness, vectors @ vectors[pick].toarray().ravel())
        open_scores[likeness >= _SAME] = -np.inf
    return chosen


def centrality(vectors: sp.csr_matrix) -> Scores:
    """Mean cosine of each row with all rows, (n,)."""
    if not vectors.shape[0]:
        return np.zeros(0)
    mean = np.asarray(vectors.mean(axis=0)).ravel()
    return np.asarray(vectors @ mean, dtype=np.float64)


def support(vectors: sp.csr_matrix, groups: npt.NDArray[np.int64], threshold: float) -> tuple[Scores, Scores]:
    """How far other texts bear out each sentence.

    vectors: (n, terms), unit rows; groups: (n,), the text of each row, ascending.
    Returns, per row, the number of texts (its own included) that hold a sentence with cosine >= threshold, and the
    mean over texts of the greatest cosine.
    """
    likeness = (vectors @ vectors.T).toarray()
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    greatest = np.maximum.reduceat(likeness, starts, axis=1)
    return (greatest >= threshold).sum(axis=1).astype(float), greatest.mean(axis=1)
