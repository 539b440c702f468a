import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlmrec_core.explain import Evidence, evidence, sentence
from rlmrec_core.explain.evidence import Near
from rlmrec_core.ranking.top_k import PADDING, Ranking
from rlmrec_core.split import Edges
from rlmrec_core.vectors import SemanticEmbeddings, Vectors


def edges(pairs) -> Edges:
    user, item = (np.array([pair[side] for pair in sorted(pairs)], np.int32) for side in (0, 1))
    return Edges(user, item)


def test_by_hand():
    items = np.array([[1, 0], [0, 1], [1, 0.1], [0.2, 1], [-1, 0]], np.float32)
    meant = np.array([[0, 1], [1, 0], [1, 0.1], [0.1, 1], [0, 0]], np.float32)
    users = np.ones((2, 2), np.float32)
    ranking = Ranking(np.array([[2, 3, 4], [0, PADDING, PADDING]], np.int32), np.zeros((2, 3), np.float32))
    found = list(
        evidence(
            ranking,
            edges([(0, 0), (0, 1), (1, 1)]),
            Vectors(users, items),
            SemanticEmbeddings(users, meant),
            ["likes quiet dragons and knights", None],
            ["a", "b", "quiet dragons, and dragons of knights", "about knights", None],
        )
    )
    assert [(one.user, one.rank, one.item) for one in found] == [(0, 1, 2), (0, 2, 3), (0, 3, 4), (1, 1, 0)]
    first, second, third, other = found
    assert (first.behaviour.item, first.text.item) == (0, 1)
    assert (second.behaviour.item, second.text.item) == (1, 0)
    assert third.behaviour is None  # the opposite of the one, at right angles to the other: nothing is near
    assert third.text is None
    assert first.words == ("dragons", "quiet", "knights")  # knights stand in two profiles
    assert second.words == ("knights",)
    assert other.words == ()
    names = ["Alpha", "Beta", "Gamma", "Delta", "Epsilon"]
    assert sentence(first, names) == (
        "Chosen by people who chose Alpha; described much like Beta; both profiles speak of dragons, quiet and knights."
    )
    assert sentence(third, names) == "Popular among people with a similar history."
    both = first._replace(text=Near(0, 1.0), words=())
    assert sentence(both, names) == "Close to Alpha, by who chose it and by what is said of it."


def test_without_texts_behaviour_alone_speaks():
    ranking = Ranking(np.array([[1]], np.int32), np.zeros((1, 1), np.float32))
    vectors = Vectors(np.ones((1, 2), np.float32), np.ones((2, 2), np.float32))
    (one,) = evidence(ranking, edges([(0, 0)]), vectors)
    assert one == Evidence(0, 1, 1, Near(0, one.behaviour.cosine), None, ())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_reason_names_an_item_outside_its_evidence(seed):
    rng = np.random.default_rng(seed)
    n_users, n_items = 6, 20
    names = [f"Item<{number:02}>" for number in range(n_items)]
    pairs = [(u, i) for u in range(n_users) for i in range(n_items) if rng.random() < 0.3]
    ranked = np.array([rng.permutation(n_items)[:7] for _ in range(n_users)], np.int32)
    vectors = Vectors(*(rng.normal(size=(n, 3)).astype(np.float32) for n in (n_users, n_items)))
    words = ["quiet", "dragon", "knight", "ocean", "winter"]
    texts = [" ".join(rng.choice(words, 3)) for _ in range(n_items)]
    ranking = Ranking(ranked, np.zeros(ranked.shape, np.float32))
    count = 0
    for one in evidence(ranking, edges(pairs), vectors, SemanticEmbeddings(*vectors), texts[:n_users], texts):
        said = sentence(one, names)
        own = {i for u, i in pairs if u == one.user}
        named = {int(number) for number in re.findall(r"Item<(\d+)>", said)}
        assert named <= own
        assert named == {near.item for near in (one.behaviour, one.text) if near}
        assert set(one.words) <= set(texts[one.user].split()) & set(texts[one.item].split())
        count += 1
    assert count == n_users * 7
