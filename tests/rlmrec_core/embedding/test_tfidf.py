"""Hashed TF-IDF against the long vectors of scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer

from rlmrec_core.config import EmbedConfig
from rlmrec_core.embedding import open_encoder
from rlmrec_core.shard import Workplace

ENCODER = open_encoder(EmbedConfig(encoder="tfidf").resolved(), Workplace(Path("unused.db")))
TEXTS = [f"word{n % 7} word{n % 11} other{n % 3} a common text of {n % 5}" for n in range(60)]


def encoded(texts):
    return ENCODER.encode(texts, lambda done, total: None)


def test_cosines_are_those_of_the_long_vectors():
    vectors = encoded(TEXTS).vectors
    assert vectors.shape == (60, 1024) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(60), abs=1e-6)
    long = TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+").fit_transform(TEXTS)
    assert vectors @ vectors.T == pytest.approx((long @ long.T).toarray(), abs=0.15)
    assert vectors[0] @ vectors[0] == pytest.approx(1) and not np.allclose(vectors[0], vectors[1])


def test_the_order_of_texts_does_not_matter():
    assert encoded(TEXTS[::-1]).vectors == pytest.approx(encoded(TEXTS).vectors[::-1])


def test_texts_without_words():
    assert not encoded(["...", "!"]).vectors.any()
    vectors = encoded(["...", "one word"]).vectors
    assert not vectors[0].any() and vectors[1].any()
    assert encoded([]).vectors.shape == (0, 1024)
    assert encoded(["one word", "one"]).tokens == 3


def test_it_places_no_new_items():
    with pytest.raises(ValidationError, match="tfidf weighs words by the texts of one run"):
        EmbedConfig(encoder="tfidf", new_items=True)
