"""Profiles and vectors made of all interactions: they reach the lists, and nothing that is measured."""

import pytest
from pydantic import ValidationError

from rlmrec_core.config import RecommendConfig
from rlmrec_core.profiling import SplitLeakage
from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError
from tasks.evaluate import evaluate
from tasks.models import model_settings
from tasks.plan import plan_by_hand
from tasks.recommend import recommend
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tasks.train import train
from tasks.user_profiles import profile_users
from tests.fake_llm import FakeLLM
from tests.tasks.by_hand import tiny

REBUILD = {"fit_on": "all", "profiles": "rebuild"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that rebuilds, and one that keeps, in one store."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("rebuild") / "artifacts"))
    config = {"train": {"variants": ["con"]}, "embed": {"embed_source": "profile"}}
    rebuilt = run_by_hand(tiny(**config, recommend=REBUILD), store)
    kept = run_by_hand(tiny(**config, recommend={"fit_on": "all"}), store)
    return store, ArtifactStore.open(store), rebuilt, kept


def refs(done):
    return {stage: made[0].ref for stage, made in done.items()}


def input_of(artifacts, ref, role):
    return ArtifactRef(role, artifacts.manifest(ref).content.inputs[role], artifacts.url)


def test_the_lists_alone_come_from_what_was_rebuilt(runs):
    _, artifacts, rebuilt, kept = runs
    again, before = refs(rebuilt), refs(kept)
    assert {stage for stage in again if stage.endswith("/all")} == {
        f"{stage}/all" for stage in ("prepare", "item_profiles", "user_profiles", "embed")
    }
    # Everything up to the metrics is the same artifact, found again.
    assert [one.status for stage in ("embed", "train", "evaluate") for one in kept[stage]] == ["hit"] * 3
    assert all(again[stage] == before[stage] for stage in ("user_profiles", "embed", "train", "evaluate"))
    measured, refitted = again["train"], input_of(artifacts, again["recommend"], "train")
    assert input_of(artifacts, measured, "embed") == again["embed"]
    assert input_of(artifacts, refitted, "embed") == again["embed/all"]
    assert input_of(artifacts, input_of(artifacts, before["recommend"], "train"), "embed") == before["embed"]
    assert model_settings(artifacts, refitted).fit_on == "all"


def test_they_are_made_of_every_interaction(runs):
    _, artifacts, rebuilt, _ = runs
    again = refs(rebuilt)
    part, whole = (artifacts.table(again[stage], "split").to_pandas() for stage in ("prepare", "prepare/all"))
    assert set(part["part"]) == {"train", "validation", "test"} and set(whole["part"]) == {"train"}
    assert whole.drop(columns="part").equals(part.drop(columns="part"))
    profiles, of_all = (
        artifacts.table(again[stage], "profiles")["summarization"].to_pylist()
        for stage in ("user_profiles", "user_profiles/all")
    )
    assert len(profiles) == len(of_all) and profiles != of_all


def test_what_has_seen_everything_is_not_measured(runs):
    store, artifacts, rebuilt, _ = runs
    again, config = refs(rebuilt), tiny(train={"variants": ["con"]})
    refitted = input_of(artifacts, again["recommend"], "train")
    with pytest.raises(SplitLeakage, match="cannot be measured"):
        evaluate.fn(config.evaluate, store, again["prepare"], [refitted])
    settings = model_settings(artifacts, again["train"])
    with pytest.raises(SplitLeakage, match="other interactions than the train part"):
        train.fn(settings, store, again["prepare"], again["embed/all"])
    with pytest.raises(SplitLeakage, match="written from split"):
        result_of(
            profile_users.fn(config.user_profiles, store, again["ingest"], again["prepare"], again["item_profiles/all"])
        )


def test_a_stage_alone_needs_vectors_of_this_data(runs):
    store, _, rebuilt, _ = runs
    again = refs(rebuilt)
    config = tiny(recommend=REBUILD).recommend
    inputs = (config, store, again["prepare"], again["evaluate"])
    for embed in (None, again["embed"]):
        with pytest.raises(StoreError, match="run the full pipeline, which makes them"):
            recommend.fn(*inputs, embed)
    assert result_of(recommend.fn(*inputs, again["embed/all"])).status == "hit"


def test_base_needs_no_profiles(tmp_path):
    done = run_by_hand(tiny(train={"variants": ["base"]}, recommend=REBUILD), StoreConfig(url=str(tmp_path / "a")))
    assert "embed/all" not in done and "recommend" in done


def test_a_plan_shows_both(runs, monkeypatch):
    store = runs[0]
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FakeLLM() as server:
        side = {"generator": "llm", "llm": {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 1.0}}
        rows = plan_by_hand(tiny(item_profiles=side, user_profiles=side, recommend=REBUILD), store)
        assert not server.n_requests
    assert [row["side"] for row in rows] == ["item", "user", "item, of all interactions", "user, of all interactions"]
    assert rows[3]["requests"] == 30 and rows[3]["tokens"] > rows[1]["tokens"]


def test_only_lists_of_everything_have_such_profiles():
    with pytest.raises(ValidationError, match="goes with fit_on = all"):
        RecommendConfig(profiles="rebuild")
