"""Experiments in this process: what is in the artifact, what a second one costs, and what a kill costs."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from rlmrec_core.config import load_config
from rlmrec_core.data import DataError
from rlmrec_core.experiments import RECIPES, RecipeName, applied, n_models
from rlmrec_core.experiments.accuracy import EXPERIMENT
from rlmrec_core.experiments.efficiency import SECONDS
from rlmrec_core.experiments.far_neighbours import FAR_NEIGHBOURS
from rlmrec_core.models.graph import trainer
from storage import ArtifactStore, StoreConfig
from tasks import datasets, report
from tasks import speed as timing
from tasks import train as training
from tasks.experiment import LATEX, MARKDOWN, PNG, SETTINGS, SVG, experiment_by_hand, noted
from tests.benchmarks.experiments import page
from tests.tasks.experiments import small
from tests.tasks.test_search import files

ROOT = Path(__file__).parents[2]
MADE = [name for name in get_args(RecipeName) if RECIPES[name].shows != "orders"]
"""Recipes that ask no model server; of the others: tests/tasks/test_rerank.py."""
SCHEMAS = {"accuracy": EXPERIMENT, "seconds": SECONDS, "far neighbours": FAR_NEIGHBOURS}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store in which every recipe has run, and their results; not to be written to."""
    store = StoreConfig(url=str(tmp_path_factory.mktemp("made") / "artifacts"))
    return store, {name: experiment_by_hand(name, small(), store, 1) for name in MADE}


@pytest.mark.parametrize("recipe", MADE)
def test_every_recipe_makes_rows_tables_and_pictures(made, recipe):
    store, results = made
    artifacts, ref = ArtifactStore.open(store), results[recipe].ref
    rows = artifacts.table(ref, "rows")
    assert rows.schema.equals(SCHEMAS[RECIPES[recipe].shows]) and len(rows)
    labels = list(dict.fromkeys(rows["label"].to_pylist()))
    written = {name: artifacts.read_bytes(ref, name) for name in (MARKDOWN, LATEX, SVG)}
    assert all(f"\n| {label} |".encode() in written[MARKDOWN] for label in labels)
    assert all(label.replace("_", r"\_").encode() in written[LATEX] for label in labels)
    drawn = {label.partition(" noise=")[0] for label in labels if recipe != "figure5" or "noise" in label}  # lines
    assert all(f">{label}<".encode() in written[SVG] for label in drawn)
    assert artifacts.read_bytes(ref, PNG).startswith(b"\x89PNG")
    assert datasets.read(artifacts, "sample", noted(recipe))["key"] == ref.key


@pytest.mark.parametrize("recipe", MADE)
def test_a_second_experiment_computes_nothing(made, recipe, monkeypatch):
    store, results = made
    for module in (training, timing):
        monkeypatch.setattr(module, "fit", None)
    again = experiment_by_hand(recipe, small(), store, 1)
    assert (again.status, again.ref) == ("hit", results[recipe].ref)


def test_epochs_are_timed_between_two_that_are_evaluated(tmp_path, monkeypatch):
    calls = []
    for name in ("validate", "train_epoch"):
        inner = getattr(trainer.Trainer, name)
        monkeypatch.setattr(
            trainer.Trainer,
            name,
            lambda self, epoch, name=name, inner=inner: calls.append((name, epoch)) or inner(self, epoch),
        )
    clock = iter((0.0, 1.0, 11.0, 13.0))
    monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(timing, "machine", lambda device: "a processor")
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    result = experiment_by_hand("table4", small(variants=["con"], max_epochs=1), store, 3)
    (row,) = ArtifactStore.open(store).table(result.ref, "rows").to_pylist()
    assert calls == [("train_epoch", 0), ("validate", 0), *(("train_epoch", epoch) for epoch in (1, 2, 3))]
    assert (row["seconds"], row["least"], row["epochs"]) == (2, 1, 3)
    assert (row["machine"], row["device"], row["threads"]) == ("a processor", "cpu", 1)
    assert (row["paper_amazon"], row["paper_yelp"]) == (1.95, 2.39)


def test_recipes_share_their_models(made):
    store, _ = made
    artifacts = ArtifactStore.open(store)
    of_table1 = {ref.key for ref in artifacts.refs("train")}
    assert len(of_table1) < sum(n_models(name, applied(name, small(), 1)) for name in RECIPES)


def test_periods_share_no_pair_and_models_of_the_first_start_the_second(made):
    store, results = made
    artifacts = ArtifactStore.open(store)
    rows = artifacts.table(results["table3"].ref, "rows").to_pylist()
    starts = [row["started_from"] for row in rows if row["backbone"] == "gccf" and row["metric"] == "recall"]
    names = ["gccf base", "gccf con", "gccf gen"]
    assert set(starts) == {None, *names}
    halves = {}
    for ref in artifacts.refs("prepare"):
        if half := artifacts.manifest(ref).content.config.get("half"):
            ids = [artifacts.table(ref, f"{side}_index")[f"{side}_id"].to_pylist() for side in ("user", "item")]
            split = artifacts.table(ref, "split").to_pylist()
            halves[half] = {(ids[0][row["user"]], ids[1][row["item"]]) for row in split}
    assert halves.keys() == {"first", "second"} and not halves["first"] & halves["second"]


def test_the_settings_of_an_experiment_are_those_of_its_models(made, tmp_path):
    store, results = made
    file = tmp_path / SETTINGS
    file.write_bytes(ArtifactStore.open(store).read_bytes(results["figure4"].ref, SETTINGS))
    again = experiment_by_hand("figure4", load_config(file), store, 1)
    assert (again.status, again.ref) == ("hit", results["figure4"].ref)


def test_experiments_become_a_page_of_the_documentation(made):
    store, results = made
    text = page([ArtifactStore.open(store)], {"sample": "The sample"}, "two cores")
    assert text.count("\n### ") == len(results) and "\n## The sample\n" in text and "two cores" in text
    for recipe in results:
        assert RECIPES[recipe].title in text
        assert f"\nrlmrec experiment {recipe} --config settings.toml --seeds 1\n" in text
    assert ArtifactStore.open(store).read_bytes(results["table2"].ref, MARKDOWN).decode().splitlines()[0] in text
    assert page([ArtifactStore.open(store)], {"other": "Other"}, "two cores").count("\n## ") == 0


def test_a_killed_experiment_goes_on(made, tmp_path):
    """Killed every few epochs, it gives the bytes of one that was not; table 3 has models that wait for others."""
    other = StoreConfig(url=str(tmp_path / "artifacts"))
    command = [sys.executable, "-m", "tests.tasks.killed", other.url, "table3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2
    here, there = (
        {name: one for name, one in files(store).items() if "speed" not in name} for store in (made[0], other)
    )
    assert there.items() <= here.items() and any(name.startswith("experiment/") for name in there)


def test_an_estimate_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    told, store = [], StoreConfig(url=str(tmp_path / "artifacts"))
    monkeypatch.setattr(report, "show_markdown", lambda key, text, title: told.append((key, text)))
    for n_seeds in (1, 2, 2):
        experiment_by_hand("figure6", small(), store, n_seeds)
    estimates = [text for key, text in told if key == "experiment-figure6-estimate"]
    assert estimates[0].startswith("2 models, 0 of them trained already; about ")
    assert "for 2 kinds of them by a few measured epochs" in estimates[0]
    assert estimates[1].startswith("4 models, 2 of them trained already; about ")
    assert estimates[1].endswith("by what such models took on these data")
    assert estimates[2] == "4 models, 4 of them trained already: nothing is left to train"


def test_without_text_nobody_is_near_which_is_said_before_anything_is_trained(tmp_path):
    config = load_config(
        overrides={**small().model_dump(), "train": {**small().train.model_dump(), "variants": ["base"]}}
    )
    with pytest.raises(DataError, match="far neighbours are found by texts: the data hold none, or Base alone"):
        experiment_by_hand("figure6", config, StoreConfig(url=str(tmp_path / "artifacts")), 1)
    assert not (tmp_path / "artifacts" / "train").exists()
