import pytest

from rlmrec_core.embedding.texts import item_texts, user_texts

PROFILES = ["Fans of fog", None, "Fans of ferries.", None, None]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("profile", ["Fans of fog.", None, "Fans of ferries."]),
        ("title", ["The Silent Harbour.", "Gardens of Mars.", "Night Ferry."]),
        ("title+profile", ["The Silent Harbour. Fans of fog.", "Gardens of Mars.", "Night Ferry. Fans of ferries."]),
    ],
)
def test_items(corpus, source, expected):
    texts = item_texts(corpus, PROFILES, source)
    assert texts[:3] == expected and texts[3] is None


def test_an_items_raw_text_is_its_own_else_its_train_reviews(corpus):
    first, second = item_texts(corpus, PROFILES, "raw")[:2]
    assert first == "The Silent Harbour. genre: crime. A detective returns to a fog-bound port. Old debts surface."
    assert second.startswith("Gardens of Mars. genre: science fiction. genre: adventure. Terraforming Mars with wit.")


@pytest.mark.parametrize(
    ("source", "first", "third"),
    [
        ("profile", "Likes fog.", None),
        ("title", "The Silent Harbour. Gardens of Mars.", "Night Ferry."),
        ("title+profile", "Likes fog. The Silent Harbour. Gardens of Mars.", "Night Ferry."),
        ("raw", "The foggy harbour and", "Night Ferry."),
    ],
)
def test_users(corpus, source, first, third):
    texts = user_texts(corpus, ["Likes fog", None, None, None], source)
    assert texts[0].startswith(first) and texts[2] == third and texts[3] is None


@pytest.mark.parametrize("source", ["profile", "title", "title+profile", "raw"])
def test_no_text_holds_what_train_does_not_show(corpus, source):
    texts = [*item_texts(corpus, PROFILES, source)[:4], *user_texts(corpus, [None] * 4, source)]
    assert not [text for text in texts if text and "CANARY" in text]
