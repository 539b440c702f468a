"""Counted words: what an encoder that has read nothing before makes of the same texts."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from rlmrec_core.embedding.encoder import Encoded, Progress
from rlmrec_core.vectors import Float32Array, unit_rows

_SIZE = 1024


class HashedTfidf:
    """TF-IDF over the words of the texts, each word added to one of 1,024 components with a sign, both by its hash.

    Scalar products of the short vectors are those of the long ones, in expectation (Weinberger et al., ICML 2009). A
    word weighs 1 + log of its count, times log((1 + n) / (1 + texts with it)) + 1. Texts encoded at another time have
    other weights: their vectors are not to be compared.
    """

    name = f"hashed TF-IDF, {_SIZE} components"
    digest = "1"

    def report(self) -> dict[str, Any]:
        """Nothing was asked or paid."""
        return {}

    def encode(self, texts: Sequence[str], progress: Progress) -> Encoded:
        """Vectors of texts in their order, (n, 1024); a row is zero where a text holds no word."""
        from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to load; only this needs it

        if not texts:
            return Encoded(np.zeros((0, _SIZE), np.float32), 0, 0)
        counter = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+")
        try:
            weighted = counter.fit_transform(texts)
        except ValueError:  # no text holds a word
            return Encoded(np.zeros((len(texts), _SIZE), np.float32), 0, 0)
        count = counter.build_analyzer()
        tokens = sum(len(count(text)) for text in texts)
        progress(len(texts), len(texts))
        return Encoded(_shortened(weighted, counter.get_feature_names_out()), tokens, 0)


def _shortened(weighted: sp.csr_matrix, words: Sequence[str]) -> Float32Array:
    hashes = [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()) for word in words]
    places = [value >> 1 for value in hashes]
    signs = [1.0 if value & 1 else -1.0 for value in hashes]
    rows = np.arange(len(words))
    hashing = sp.csr_matrix((signs, (rows, [place % _SIZE for place in places])), (len(words), _SIZE))
    return unit_rows((weighted @ hashing).toarray().astype(np.float32))
