import shutil
import socket

import pytest

from rlmrec_core.llm import tokens
from rlmrec_core.llm.tokens import TokenCounter

TEXTS = [
    "plain words of English prose, as in a review",
    "一本关于火星的小说",
    "🎮🎮🎮",
    "naïve café",
    "<|endoftext|>",
    "",
]


@pytest.fixture(autouse=True)
def _fresh_cache():
    tokens._cached_encoding.cache_clear()
    yield
    tokens._cached_encoding.cache_clear()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a token counter reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [("gpt-4o-mini", "o200k_base"), ("gpt-7-unheard-of", "o200k_base"), ("o9", "o200k_base"), ("gpt-4", "cl100k_base")],
)
def test_known_families_are_counted_exactly(vocabularies, no_network, model, encoding):
    counter = TokenCounter.for_model(model)
    assert counter.label == "exact" and counter.encoding.name == encoding


def test_other_models_are_labelled_estimated(vocabularies):
    assert TokenCounter.for_model("llama3.3:70b").label == "estimated"


def test_counts_agree_with_the_published_vocabulary(vocabularies):
    counter = TokenCounter.for_model("gpt-4o")
    assert counter.count("hello world") == 2
    assert counter.count("<|endoftext|>") > 1  # text, not the special token


def test_without_a_vocabulary_nothing_is_fetched(monkeypatch, tmp_path, no_network):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    counter = TokenCounter.for_model("gpt-4o")
    assert counter == TokenCounter(None, "estimated")
    assert [counter.count(text) for text in ("", "abcd", "abcde", "é", "火")] == [0, 1, 2, 1, 2]


def test_a_corrupt_vocabulary_is_passed_over_and_left_alone(
    vocabularies, monkeypatch, tmp_path, no_network, pytestconfig
):
    source = tokens._cache_folder()
    for file in source.iterdir():
        shutil.copy(file, tmp_path / file.name)
    broken = next(file for file in tmp_path.iterdir() if file.stat().st_size > 3_000_000)
    broken.chmod(0o644)
    broken.write_bytes(b"broken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert TokenCounter.for_model("gpt-4o").label == "estimated"
    assert broken.read_bytes() == b"broken"


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("exact", [True, False])
def test_cut_text_begins_like_the_text(vocabularies, text, limit, exact):
    counter = TokenCounter.for_model("gpt-4o") if exact else TokenCounter(None, "estimated")
    cut = counter.cut(text, limit)
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]) and len(cut) <= len(text))
    assert counter.count(cut) <= max(limit + 1, 3)
