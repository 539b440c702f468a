"""Scores of orders against numbers made by hand."""

from math import log2

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from rlmrec_core.reranking import repaired, scores, strict
from rlmrec_core.reranking.scores import faults
from rlmrec_core.split import Edges
from rlmrec_core.tables import ORDER_SCORES, ORDERS

CANDIDATES = list(range(100, 130))
INVENTED, GAP = 7, -1


def row(user, answer, candidates=CANDIDATES, n=30, status=None, again=False):
    plain = dict.fromkeys(ORDERS.names)
    told = status or ("unlisted" if answer is None else "listed")
    return plain | {
        "user": user, "user_id": f"u{user}", "n_candidates": n, "candidates": candidates, "items": answer,
        "status": told, "again": again,
    }  # fmt: skip


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=ORDERS)


def held_out(pairs):
    users, items = np.array(sorted(pairs), np.int32).T
    return Edges(users, items)


def by_list(answers, pairs):
    found = scores(answers, held_out(pairs), n_users=5, n_items=200)
    assert found.schema.equals(ORDER_SCORES)
    return {(one["list"], one["metric"], one["k"]): one for one in found.to_pylist()}


def test_places_of_an_order():
    answer = [105, INVENTED, 105, 101]
    assert strict(answer, CANDIDATES) == [105, GAP, GAP, 101] + [GAP] * 16
    assert repaired(answer, CANDIDATES) == [105, 101, 100, 102, 103, 104, *range(106, 120)]
    assert faults(answer, CANDIDATES) == (1 / 20, 1 / 20, 16 / 20)
    assert faults([INVENTED, INVENTED], CANDIDATES) == (2 / 20, 0, 18 / 20)
    assert repaired([], CANDIDATES) == CANDIDATES[:20]
    # 21 numbers: the last is not looked at.
    assert strict([*range(100, 120), 129], CANDIDATES) == list(range(100, 120))
    assert faults([*range(100, 120), INVENTED], CANDIDATES) == (0, 0, 0)


def test_somebody_with_few_items_left():
    assert repaired([101], [100, 101]) == [101, 100] + [GAP] * 18
    assert strict([101, 100, 100], [100, 101]) == [101, 100] + [GAP] * 18
    assert faults([101], [100, 101]) == (0, 0, 1 / 2)
    assert faults([101, 100, 100], [100, 101]) == (0, 1 / 2, 0)


@given(st.lists(st.integers(95, 135), max_size=25))
def test_places_twin(answer):
    """What the two orders have in common with an answer, put otherwise."""
    rigid, mended, found = strict(answer, CANDIDATES), repaired(answer, CANDIDATES), faults(answer, CANDIDATES)
    assert len(rigid) == len(mended) == 20 == len(set(mended)) and set(mended) <= set(CANDIDATES)
    kept = [item for item in rigid if item != GAP]
    assert mended[: len(kept)] == kept and mended[len(kept) :] == sorted(set(CANDIDATES) - set(kept))[: 20 - len(kept)]
    for place, item in enumerate(answer[:20]):
        first = item in CANDIDATES and item not in answer[:place]
        assert rigid[place] == (item if first else GAP)
    assert sum(found) * 20 + len(kept) == pytest.approx(20)


def test_recall_and_ndcg_by_hand():
    # Held out: 119, which the model has at 20, and 125, which it has at 26; and of the second user 100 and one unseen.
    pairs = [(1, 119), (1, 125), (3, 100), (3, 150)]
    answer = [INVENTED, 125, 125, 119, *range(100, 116)]
    found = by_list(table(row(1, answer), row(3, None, again=True)), pairs)

    def value(whose, metric, k):
        return found[whose, metric, k]["value"]

    ideal = 1 + 1 / log2(3)
    # The model: the first user has 119 at 20, the second 100 at 1.
    assert value("model", "recall", 10) == (0 + 1 / 2) / 2
    assert value("model", "recall", 20) == (1 / 2 + 1 / 2) / 2
    assert value("model", "ndcg", 20) == pytest.approx((1 / log2(21) + 1) / ideal / 2)
    # Strict: 125 at 2 and 119 at 4; the second user has nothing.
    assert value("strict", "recall", 10) == value("strict", "recall", 20) == (1 + 0) / 2
    assert value("strict", "ndcg", 10) == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal / 2)
    # Repaired: 125 at 1 and 119 at 2; the second user has the model's list.
    assert value("repaired", "recall", 10) == (1 + 1 / 2) / 2
    assert value("repaired", "ndcg", 20) == pytest.approx((1 + 1 / ideal) / 2)
    assert found["repaired", "recall", 10]["gain"] == pytest.approx(2)
    assert found["model", "recall", 10]["gain"] is None
    assert value("answers", "invented", 20) == value("answers", "repeated", 20) == 1 / 20
    assert value("answers", "missing", 20) == 0
    assert value("answers", "unparseable", 20) == value("answers", "without_list", 20) == 1 / 2
    assert {one["n_users"] for one in found.values()} == {2}


def test_who_was_not_answered_is_left_out_of_one_number_of_candidates_alone():
    answers = table(
        row(0, [101], n=30),
        row(0, None, n=40, status="unanswered"),
        row(2, [100], n=40),
        row(2, [101, 100], n=30),
        row(4, None, n=50, status="unanswered"),
    )
    found = scores(answers, held_out([(0, 101), (2, 100), (4, 1)]), 5, 200).to_pylist()
    assert {(one["n_candidates"], one["n_users"]) for one in found} == {(30, 2), (40, 1)}


def test_an_answer_of_no_use_to_anybody_has_no_shares_of_places():
    found = by_list(table(row(0, None, again=True)), [(0, 100)])
    assert ("answers", "invented", 20) not in found and found["answers", "without_list", 20]["value"] == 1
    assert found["strict", "recall", 20]["value"] == 0 and found["repaired", "recall", 20]["value"] == 1
    assert found["repaired", "recall", 20]["p_wilcoxon"] is None  # nobody differs


def test_tests_over_users_are_corrected_for_all_that_is_compared():
    rng = np.random.default_rng(3)
    pairs = {(user, item) for user in range(5) for item in rng.choice(range(100, 130), 6, replace=False).tolist()}
    answers = table(*(row(user, rng.permutation(CANDIDATES)[:20].tolist(), n=n) for user in range(5) for n in (30, 35)))
    found = scores(answers, held_out(pairs), 5, 200).to_pylist()
    tested = [one for one in found if (one["metric"], one["k"]) == ("ndcg", 10) and one["p_wilcoxon"] is not None]
    assert len(tested) == 4 and len({one["n_candidates"] for one in tested}) == 2
    assert min(one["p_wilcoxon_holm"] for one in tested) == min(1, 4 * min(one["p_wilcoxon"] for one in tested))

    def ndcg(items, user):
        hits = [(user, item) in pairs for item in items[:10]]
        return sum(hit / log2(place + 2) for place, hit in enumerate(hits)) / sum(1 / log2(p + 2) for p in range(6))

    first = [one for one in answers.to_pylist() if one["n_candidates"] == 30]
    gains = [ndcg(one["items"], one["user"]) - ndcg(CANDIDATES, one["user"]) for one in first]
    (of_first,) = (one for one in tested if one["n_candidates"] == 30 and one["list"] == "repaired")
    assert of_first["p_wilcoxon"] == pytest.approx(wilcoxon(gains).pvalue)


def test_answers_about_another_split_are_refused():
    with pytest.raises(ValueError, match="another split"):
        scores(table(row(0, [100])), held_out([(1, 100)]), 5, 200)
