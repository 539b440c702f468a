import numpy as np
import pytest
import scipy.sparse as sp

from rlmrec_core.profiling import extractive
from rlmrec_core.profiling.extractive import extract_items, extract_users
from rlmrec_core.profiling.sentences import centrality, fit_tfidf, select, split_sentences, split_statements, support


def items_of(corpus, max_words=170):
    return list(extract_items(corpus, max_words=max_words, seed=0))


def test_sentences_are_split_cleaned_and_cut():
    text = 'It rains.  "Why?" she asked<br/>Nobody knew…\n\n' + "word " * 60
    *short, long = split_sentences(text)
    assert short == ["It rains.", '"Why?', "she asked Nobody knew…"]
    assert long == " ".join(["word"] * 50) + "…"
    assert split_sentences("J. Doe lives in St. Louis. He writes.") == ["J. Doe lives in St. Louis.", "He writes."]
    assert split_sentences(None) == split_sentences(" \n ") == []


def test_short_sentences_of_a_review_count_only_where_there_is_no_other():
    assert split_statements("Not bad. The harbour scenes are superb. Wow!") == ["The harbour scenes are superb."]
    assert split_statements("funny, quotable") == ["funny, quotable"]


def test_support_counts_the_texts_that_agree():
    vectors = sp.csr_matrix([[1.0, 0, 0], [0, 1.0, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    supporters, scores = support(vectors, np.array([0, 0, 1, 2]), 0.7)
    assert supporters.tolist() == [2, 1, 2, 1]
    assert scores == pytest.approx([(1 + 0.8) / 3, (1 + 0.6) / 3, (0.8 + 1) / 3, 1 / 3])


def test_centrality_is_the_mean_cosine():
    vectors = sp.csr_matrix([[1.0, 0], [1.0, 0], [0, 1.0]])
    assert centrality(vectors) == pytest.approx([2 / 3, 2 / 3, 1 / 3])
    assert centrality(sp.csr_matrix((0, 2))).shape == (0,)


def test_selection_is_central_then_diverse_within_the_budget():
    vectors = sp.csr_matrix([[1.0, 0, 0], [1.0, 0, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
    scores = np.array([0.9, 0.9, 0.8, 0.3])
    assert select(vectors, scores, [5, 5, 5, 5], budget=100, most=9) == [0, 3, 2]  # 1 repeats 0
    assert select(vectors, scores, [5, 5, 5, 5], budget=12, most=9) == [0, 3]
    assert select(vectors, scores, [50, 0, 5, 5], budget=12, most=9) == [2, 3]
    assert select(vectors, scores, [5, 5, 5, 5], budget=100, most=1) == [0]


def test_an_item_tells_title_facts_lead_and_what_reviews_agree_on(corpus):
    rows = items_of(corpus)
    assert rows[0].summarization == (
        "The Silent Harbour. genre: crime. A detective returns to a fog-bound port. Old debts surface."
    )
    assert rows[1].summarization.startswith("Gardens of Mars. genre: science fiction, adventure.")
    assert "greenhouse" in rows[1].summarization
    assert [row.status for row in rows] == ["ok", "ok", "ok", "missing", "ok"]
    assert "title" in rows[3].error and rows[3].summarization is None
    assert "without a language model" in rows[0].reasoning


def test_a_sentence_of_one_review_only_is_left_out_where_others_agree(build):
    texts = ["Such lovely sea views. The lift was broken.", "Sea views to remember.", "What great sea views."]
    edges = [(user, 2, "train", None, text) for user, text in enumerate(texts)]
    text = items_of(build(edges=edges))[2].summarization
    assert "Such lovely sea views." in text and "lift" not in text


def test_profiles_keep_to_their_words(corpus):
    rows = items_of(corpus, max_words=20)
    assert all(len(row.summarization.split()) <= 20 for row in rows if row.summarization)
    users = extract_users(corpus, [row.summarization for row in rows], max_words=20, seed=0)
    assert all(len(row.summarization.split()) <= 20 for row in users if row.summarization)


def test_a_user_tells_what_the_items_share(build):
    edges = [(0, item, "train", None, None) for item in (0, 1, 2)] + [(1, 1, "train", None, "I adore greenhouses.")]
    others = ["For gardeners.", "For patient gardeners."]
    profiles = ["For fans of foggy harbours.", None, "For fans of foggy ferries.", *others]
    rows = list(extract_users(build(edges=edges), profiles, max_words=60, seed=0))
    assert rows[0].summarization.startswith("genre: crime. Recurring themes: fans, foggy. ")
    assert rows[0].summarization.endswith(("For fans of foggy harbours.", "For fans of foggy ferries."))
    assert "I adore greenhouses." in rows[1].summarization and "science fiction" in rows[1].summarization
    assert rows[2].status == rows[3].status == "missing"


def test_values_that_list_several_things_are_shared_one_by_one(build):
    edges = [(0, 0, "train", None, None), (0, 1, "train", None, None)]
    items = [("i0", "A", None, [("genres", "Crime, Drama")]), ("i1", "B", None, [("genres", "Comedy, Crime")])]
    rows = list(extract_users(build(edges=edges, items=items), [None, None], max_words=60, seed=0))
    assert rows[0].summarization == "genres: Crime."


def test_a_word_without_end_does_not_fill_a_profile():
    budget = extractive._Budget(20)
    assert budget.add(["x" * 40_000, "a short sentence"]) == 1 and len(budget.text) == 300
    budget = extractive._Budget(20)
    assert budget.add(["a short sentence", "x" * 40_000, "and another"]) == 2


def test_words_are_whole_words_and_not_parts_of_contractions():
    tfidf = fit_tfidf(["She'll go, he doesn't care", "She\u2019ll go, he doesn\u2019t care: 1999"])
    assert tfidf.get_feature_names_out().tolist() == ["care"]


def test_a_user_whose_items_have_titles_only_lists_them(build):
    edges = [(0, 0, "train", None, None), (0, 1, "train", None, None)]
    titles = [("i0", "First", None, None), ("i1", "Second", None, None)]
    rows = list(extract_users(build(edges=edges, items=titles), [None, None], max_words=60, seed=0))
    assert rows[0].summarization == "First. Second."


def test_one_run_is_like_another(corpus):
    rows = items_of(corpus)
    assert rows == items_of(corpus)
    profiles = [row.summarization for row in rows]
    users = list(extract_users(corpus, profiles, max_words=100, seed=0))
    assert users == list(extract_users(corpus, profiles, max_words=100, seed=0))
