"""A search in this process: what it costs a second time, what a kill costs, and what it leaves behind."""

import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlmrec_core.config import load_config
from rlmrec_core.data import DataError
from rlmrec_core.models.graph import trainer
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import train as training
from tasks.models import load_split
from tasks.prepare import data_size
from tasks.search import BEST, last_search, search_by_hand, starts
from tasks.search_page import PAGE
from tasks.stages import STAGE, hyper_parameters, run_by_hand
from tests.tasks.by_hand import tiny
from tests.tasks.searches import settings

ROOT = Path(__file__).parents[2]


def trials(store: StoreConfig, result) -> list[dict]:
    return ArtifactStore.open(store).table(result.ref, "trials").to_pylist()


def files(store: StoreConfig) -> dict[str, bytes]:
    """Every file of every artifact, the manifests, which tell the time, aside."""
    found = [path for path in Path(store.url).glob("[!.]*/*/*") if path.name != "manifest.json"]
    return {str(path.relative_to(store.url)): path.read_bytes() for path in found if "datasets" not in path.parts}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A store after a search, and its result; not to be written to."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("searched") / "artifacts"))
    return store, search_by_hand(settings(), store)


def test_every_trial_is_a_model_or_what_was_seen_of_one(searched):
    store, result = searched
    rows = trials(store, result)
    assert [row["number"] for row in rows] == list(range(10))
    assert {row["state"] for row in rows} == {"finished", "pruned"}
    artifacts = ArtifactStore.open(store)
    assert len(artifacts.refs("train")) == sum(row["state"] == "finished" for row in rows)
    for row in rows:
        stage = "train" if row["state"] == "finished" else "trial"
        history = artifacts.table(ArtifactRef(stage, row["key"], artifacts.url), "history")
        assert max(history["recall@20"].to_pylist()) == row["recall@20"]
        assert history.num_rows == row["epochs"] <= 5
    assert not list((Path(store.url) / ".work").iterdir())


def test_the_first_trial_is_what_a_run_would_train(searched):
    store, result = searched
    done = run_by_hand(settings(), store, last="train")
    assert done["train"][0].status == "hit"
    assert done["train"][0].ref.key == trials(store, result)[0]["key"]


def test_a_second_search_trains_nothing(searched, monkeypatch):
    store, result = searched
    monkeypatch.setattr(training, "fit", None)
    again = search_by_hand(settings(), store)
    assert (again.status, again.ref) == ("hit", result.ref)


def test_a_longer_search_goes_on_from_a_shorter_one(searched, tmp_path):
    store, result = searched
    other = StoreConfig(url=str(tmp_path / "artifacts"))
    assert trials(other, search_by_hand(settings(trials=5), other)) == trials(store, result)[:5]


def test_best_toml_gives_the_best_model(searched, tmp_path):
    store, result = searched
    artifacts = ArtifactStore.open(store)
    file = tmp_path / BEST
    file.write_bytes(artifacts.read_bytes(result.ref, BEST))
    done = run_by_hand(load_config(file), store, last="train")["train"]
    best = max((row for row in trials(store, result) if row["state"] == "finished"), key=lambda row: row["recall@20"])
    assert [one.ref.key for one in done] == [best["key"]]
    noted = last_search(artifacts, "sample")
    assert noted["key"] == result.ref.key and noted["models"][0]["best"] == best["recall@20"]
    assert noted["models"][0]["best"] >= noted["models"][0]["start"]


def test_the_page_tells_every_trial(searched):
    store, result = searched
    page = ArtifactStore.open(store).read_bytes(result.ref, PAGE).decode()
    assert "lightgcn base" in page and "backbone_settings.n_layers" in page
    assert page.count('"pruned"') == 2 * sum(row["state"] == "pruned" for row in trials(store, result))


def test_the_test_part_is_not_read(searched, monkeypatch, tmp_path):
    store, result = searched
    load = training.load_split

    def without_test(*arguments):
        split = load(*arguments)
        return replace(split, test=split.test._replace(user=split.test.user[:0], item=split.test.item[:0]))

    monkeypatch.setattr(training, "load_split", without_test)
    other = StoreConfig(url=str(tmp_path / "artifacts"))
    assert trials(other, search_by_hand(settings(), other)) == trials(store, result)


def test_a_model_that_was_trained_before_is_stopped_all_the_same(searched, tmp_path):
    """The search goes the same way, whatever else the store holds."""
    store, result = searched
    stopped = next(row for row in trials(store, result) if row["state"] == "pruned")
    other = StoreConfig(url=str(tmp_path / "artifacts"))
    values = {one["name"]: float(one["value"]) for one in stopped["parameters"]}
    layers = int(values.pop("backbone_settings.n_layers"))
    own = {name: [value] for name, value in values.items()} | {"backbone_settings.n_layers": [layers]}
    config = settings()
    grid = {name.replace("backbone_settings", "backbone_settings.lightgcn"): one for name, one in own.items()}
    config = config.model_copy(
        update={"train": type(config.train).model_validate(config.train.model_dump() | {"grid": grid})}
    )
    run_by_hand(config, other, last="train")
    rows = trials(other, search_by_hand(settings(), other))
    assert [row | {"key": ""} for row in rows] == [row | {"key": ""} for row in trials(store, result)]
    assert ArtifactStore.open(other).find("train", rows[stopped["number"]]["key"])


def test_a_killed_search_goes_on(searched, tmp_path):
    """Killed every few epochs, it gives the bytes of the one that was not."""
    store, _ = searched
    other = StoreConfig(url=str(tmp_path / "artifacts"))
    command = [sys.executable, "-m", "tests.tasks.killed", other.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 2
    assert files(other) == files(store)


def test_a_trial_that_diverges_is_remembered(tmp_path, monkeypatch):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    wild = settings(trials=4, settings=("learning_rate",), ranges={"learning_rate": {"choices": [0.003, 1e30]}})
    rows = trials(store, search_by_hand(wild, store))
    assert {row["state"] for row in rows} == {"finished", "diverged"}
    monkeypatch.setattr(training, "fit", None)
    assert trials(store, search_by_hand(wild, store)) == rows


def test_what_a_stopped_trial_took_counts(tmp_path, monkeypatch):
    """By a clock that moves on by an hour at every look: epochs take hours, and what else there is next to nothing."""
    clock = count(0.0, 3600.0)
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    search_by_hand(settings(), store)
    artifacts = ArtifactStore.open(store)
    stopped = artifacts.refs("trial")
    assert stopped and all(artifacts.manifest(ref).run.seconds >= 3600 for ref in stopped)


def test_minutes_end_a_search_between_two_batches(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    assert len(trials(store, search_by_hand(settings(minutes=1e-9, batch=2), store))) == 2


def test_every_model_is_searched_with_the_first_seed(searched):
    store, _ = searched
    config = tiny(train={"variants": ["base", "con"], "seeds": [5, 6], "grid": {"learning_rate": [0.1, 0.2]}}).train
    prepare = ArtifactStore.open(store).refs("prepare")[0]
    assert [(one.variant, one.seed, one.learning_rate) for one in starts(config, prepare)] == [
        ("base", 5, 0.001),
        ("con", 5, 0.001),
    ]


def test_starting_values_follow_the_prepared_data(searched):
    store, _ = searched
    artifacts = ArtifactStore.open(store)
    prepare = artifacts.refs("prepare")[0]
    size = data_size(artifacts, prepare)
    split = load_split(artifacts, prepare)
    assert size == (split.n_users, split.n_items, len(split.train.user))
    config = tiny(train={"preset": "auto", "variants": ["base"]}).train
    assert (
        STAGE["train"].calls(config, {"prepare": [prepare]})[0]["settings"] == config.runs(size)[0] != config.runs()[0]
    )
    told = hyper_parameters(config, artifacts, prepare)
    assert f"{size.n_users} users and {size.n_items} items" in told and "not chosen on these data" in told
    assert hyper_parameters(settings().train, artifacts, prepare) == "hyper-parameters: those of the preset sample"


def test_without_a_validation_part_the_way_out_is_told(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    config = tiny(prepare={"ratios": [4, 0, 1]}, train={"variants": ["base"]})
    with pytest.raises(DataError, match=r"no validation part.*prepare\.ratios"):
        search_by_hand(config, store)
