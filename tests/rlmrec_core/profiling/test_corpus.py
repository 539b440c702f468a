import pytest

from rlmrec_core.profiling import TrainCorpus
from rlmrec_core.profiling.sources import sample_rows
from rlmrec_core.tables import TableError


def test_only_train_rows_are_kept(corpus):
    kept = {(int(u), int(i)) for u, i in zip(corpus.users, corpus.items, strict=True)}
    assert kept == {(0, 0), (0, 1), (1, 1), (2, 2), (2, 3), (3, 3)}
    assert [corpus.items[row] for row in corpus.rows_of_user(0)] == [0, 1]
    assert [corpus.users[row] for row in corpus.rows_of_item(1)] == [0, 1]
    assert len(corpus.rows_of_item(4)) == 0


def test_text_is_looked_up_by_item_and_row(corpus):
    assert corpus.title(0) == "The Silent Harbour"
    assert corpus.description(1) is None
    assert corpus.attributes(1) == (("genre", "science fiction"), ("genre", "adventure"))
    assert corpus.title(3) is None and corpus.attributes(3) == ()
    (row,) = corpus.rows_of_user(3)
    assert corpus.review(row) is None and corpus.rating(row) == 4.0


def test_items_in_another_order_or_absent_give_the_same_corpus(world_of):
    tables = world_of()
    tables["items"] = tables["items"].take([4, 2, 0, 1])
    corpus = TrainCorpus.build(**tables)
    assert corpus.title(0) == "The Silent Harbour" and corpus.title(3) is None


def test_the_hash_follows_the_train_part_alone(build, edges):
    same = [*edges[:2], (0, 2, "test", 1.0, "other held-out words"), *edges[3:]]
    other = [(0, 0, "train", 5.0, "other words"), *edges[1:]]
    assert build().split_hash == build(edges=edges[::-1]).split_hash == build(edges=same).split_hash
    assert build().split_hash != build(edges=other).split_hash


def test_a_missing_column_is_named(world_of):
    tables = world_of()
    tables["split"] = tables["split"].drop(["review"])
    with pytest.raises(TableError, match="review"):
        TrainCorpus.build(**tables)


def test_samples_are_seeded_and_change_in_one_place_at_most(build):
    edges = [(user, 0, "train", None, f"review {user}") for user in range(40)]
    grown = build(edges=edges, n_users=40)
    before = build(edges=edges[:-1], n_users=40)

    def drawn(corpus, seed):
        return {int(corpus.users[row]) for row in sample_rows(corpus, "item", corpus.rows_of_item(0), 10, seed)}

    assert drawn(grown, 1) == drawn(grown, 1) != drawn(grown, 2)
    assert all(len(drawn(grown, seed) - drawn(before, seed)) <= 1 for seed in range(20))
    samples = [drawn(grown, seed) for seed in range(200)]
    counts = [sum(user in sample for sample in samples) for user in range(40)]
    assert min(counts) > 25 and max(counts) < 80  # 50 expected, standard deviation 6.1
