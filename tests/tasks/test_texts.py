"""Lists for somebody who says something of themselves."""

import numpy as np
import pytest

from rlmrec_core.ranking.cold_start import TextMap
from storage import ArtifactRef, ArtifactStore
from tasks.models import load_semantic, load_split, load_vectors
from tasks.results import Results
from tasks.texts import LONGEST, NoTexts, Texts

TEXT = "I like quiet stories about the sea, and old ships."


@pytest.fixture(scope="module")
def results(con_world):
    store, done = con_world
    return Results.of(ArtifactStore.open(store), "sample", {"recommend": [done["recommend"][0].ref.key]})


def test_a_text_is_read_by_the_runs_own_encoder_and_map(con_world, results):
    store, done = con_world
    artifacts, refs = ArtifactStore.open(store), {stage: made[0].ref for stage, made in done.items()}
    split, vectors = load_split(artifacts, refs["prepare"]), load_vectors(artifacts, refs["train"])
    taken = np.bincount(split.train.user, minlength=split.n_users)
    learnt = TextMap.learn(load_semantic(artifacts, refs["embed"]).users, vectors.users, taken)
    assert np.allclose(results.texts.learnt.coefficients, learnt.coefficients)
    # What the profile of a user says leads to what the map makes of its vector.
    profile = artifacts.table(refs["user_profiles"], "profiles")["summarization"][3].as_py()
    known = load_semantic(artifacts, refs["embed"]).users[3:4]
    assert np.allclose(results.texts.place(profile), learnt.place(known)[0], atol=1e-4)

    listed = results.recommend_for_text(TEXT, 4)
    scores = vectors.items @ results.texts.place(TEXT)
    assert [results.item(row.item_id) for row in listed] == np.argsort(-scores)[:4].tolist()
    assert np.allclose([row.score for row in listed], np.sort(scores)[::-1][:4], atol=1e-5)
    assert [row.rank for row in listed] == [1, 2, 3, 4]


@pytest.mark.parametrize("text", ["", " \n", "x" * (LONGEST + 1)])
def test_a_text_has_a_word_and_an_end(results, text):
    with pytest.raises(ValueError, match="at least one word"):
        results.recommend_for_text(text, 3)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("openai", "the server of e, which is asked, and paid, by runs alone"),
        ("imported", "came with the data, and what made them is not known here"),
    ],
)
def test_an_encoder_that_is_paid_or_unknown_is_not_asked(results, monkeypatch, encoder, message):
    from storage.store import ArtifactStore as Store

    true = Store.manifest

    def remote(self, ref):
        manifest = true(self, ref)
        if ref.stage == "embed":
            manifest.content.config.update(encoder=encoder, model="e", unfinished="1 of 2 texts got no vector")
        return manifest

    monkeypatch.setattr(Store, "manifest", remote)
    with pytest.raises(NoTexts, match=message):
        Texts.open(results.lists)


def test_lists_of_a_run_without_text_say_so(con_world, results, monkeypatch):
    store, _ = con_world
    empty = np.zeros((0, 4), np.float32)

    def table(self, ref, name, columns=None):
        from rlmrec_core.tables import vectors_table

        return vectors_table(empty)

    monkeypatch.setattr(ArtifactStore, "table", table)
    with pytest.raises(NoTexts, match="embedded no profiles of people"):
        Texts.open(ArtifactRef("recommend", "0" * 64, store.url))


def test_everything_is_built_before_the_first_question(con_world):
    store, done = con_world
    fresh = Results.of(ArtifactStore.open(store), "sample", {"recommend": [done["recommend"][0].ref.key]})
    assert not {"_users", "_items", "texts"} & vars(fresh).keys()
    assert {"_users", "_items", "texts"} <= vars(fresh.ready()).keys()
