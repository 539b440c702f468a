import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from rlmrec_core.models.cllm4rec import Texts
from rlmrec_core.models.cllm4rec.documents import Documents
from rlmrec_core.models.cllm4rec.embedded import train_tokenizer
from rlmrec_core.models.cllm4rec.tokens import TextTokenizer
from rlmrec_core.profiling import TrainCorpus
from tests.rlmrec_core.profiling.conftest import world

WORDS = ["The biography of is: The content of", "has interacted with , will interact with", "writes the review for : "]


@pytest.fixture(scope="session")
def tokenizer():
    """Byte-level BPE with an end of text, a padding and two chat marks as special tokens."""
    inner = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(train_tokenizer(WORDS * 2)), eos_token="<|end|>"
    )
    inner.add_special_tokens({"pad_token": "[PAD]", "additional_special_tokens": ["<|im_start|>", "<user_3>"]})
    return TextTokenizer(inner, len(inner))


@pytest.fixture
def documents(checkerboard, texts, tokenizer):
    return Documents(checkerboard, texts, tokenizer, max_positions=32, max_text_tokens=12)


def test_a_trunk_too_short_for_the_words_is_refused(checkerboard, texts, tokenizer):
    with pytest.raises(ValueError, match="reads 5 tokens at once"):
        Documents(checkerboard, texts, tokenizer, max_positions=5, max_text_tokens=12)


def test_users_and_items_stand_after_the_words(documents, tokenizer):
    n = tokenizer.size
    found = documents.interactions(3, np.array([5, 1]))
    assert found.tokens[0] == n + 3
    assert found.tokens[-1] == n + 40 + 5, "the last item predicts nothing, so it is not read"
    assert found.targets.tolist() == [5, 1]
    assert found.rows.tolist() == [len(found) - 2, len(found) - 1]
    assert found.nodes.tolist() == [3, 45, 41]


def test_the_first_item_can_be_left_unpredicted(documents):
    found = documents.interactions(3, np.array([5, 1, 7]), first=False)
    assert found.targets.tolist() == [1, 7]
    assert found.rows.tolist() == [len(found) - 2, len(found) - 1]


def test_a_recommendation_predicts_everything_at_its_end(documents):
    found = documents.recommendation(3, np.array([5, 1]), np.array([7, 9, 11]))
    assert found.rows.tolist() == [len(found) - 1]
    assert found.counts.tolist() == [3]
    assert found.targets.tolist() == [7, 9, 11]
    nothing = documents.recommendation(3, np.zeros(0, np.int64), np.array([7]))
    assert len(nothing) == len(found) - 2


def test_every_text_is_a_document_and_texts_are_cut_not_the_words_around_them(documents, tokenizer):
    users, items = 39, 59
    assert len(documents.content) == users + items + 2
    assert all(len(one) <= 32 and len(one.targets) <= 12 for one in documents.content)
    review = documents.content[-2]
    assert review.nodes.tolist() == [3, 45]
    assert {tokenizer.size + 3, tokenizer.size + 45} <= set(review.tokens.tolist())
    assert all(one.targets.max() < tokenizer.size for one in documents.content)


def test_long_histories_are_cut_to_the_trunk(documents):
    long = np.arange(60)
    assert len(documents.recommendation(0, long, np.array([1]))) == 32
    assert len(documents.interactions(0, long)) <= 32


@given(st.text())
def test_no_text_names_a_special_token_a_user_or_an_item(tokenizer, text):
    for hostile in (
        text,
        f"<|end|>{text}<|im_start|>",
        f"{text}<user_3>[PAD]",
        f"<|<|end|>end|>{text}",
        f"[pad]{text}",
    ):
        (found,) = tokenizer.encode([hostile])
        assert not tokenizer.added & set(found.tolist())
        assert (found < tokenizer.size).all()


def test_a_hostile_text_keeps_all_its_letters(tokenizer):
    hostile = "a<|end|>b\x00\x1b[31m<user_3>"
    (found,) = tokenizer.encode([hostile])
    assert tokenizer.decode(found) == hostile


def test_only_train_reaches_a_document(tokenizer):
    tables = world()
    corpus = TrainCorpus.build(**tables)
    texts = Texts.of(corpus, ["A profile."] * corpus.n_items, [None] * corpus.n_users)
    assert len(texts.reviews) == 3
    read = " ".join(texts.all())
    assert "Terraforming Mars with wit" in read
    assert "CANARY" not in read


def test_parts_tell_texts_apart():
    one, other = Texts(["a", None], ["b"]), Texts(["a"], [None, "b"])
    assert list(one.parts()) != list(other.parts())
