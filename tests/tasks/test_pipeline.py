"""The stages together, without Prefect: what is done again when something changes, and that the bytes are the same."""

import hashlib
import shutil
from pathlib import Path

import pytest

import prompts
from storage import StoreConfig
from tests.tasks.by_hand import run_by_hand, tiny

STAGES = ["ingest", "prepare", "item_profiles", "user_profiles", "embed", *["train"] * 3, "evaluate", "recommend"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A store in which the tiny pipeline has run."""
    url = tmp_path_factory.mktemp("finished") / "artifacts"
    run_by_hand(tiny(), StoreConfig(url=str(url)))
    return url


@pytest.fixture
def copy(finished, tmp_path) -> StoreConfig:
    shutil.copytree(finished, tmp_path / "artifacts")
    return StoreConfig(url=str(tmp_path / "artifacts"))


def computed(config, store):
    """What was computed, without the digest of a model's settings."""
    results = run_by_hand(config, store)
    return [" ".join(result.title.split()[:4]) for result in results if result.status == "computed"]


def test_a_second_run_finds_everything(copy):
    results = run_by_hand(tiny(), copy)
    assert [result.ref.stage for result in results] == STAGES
    assert {result.status for result in results} == {"hit"}


def test_another_store_gets_the_same_bytes(finished, tmp_path):
    run_by_hand(tiny(), StoreConfig(url=str(tmp_path / "other")))
    assert digests(tmp_path / "other") == digests(finished)


def test_a_training_setting_reruns_training_and_what_follows(copy):
    models = [f"train lightgcn {variant} 2023" for variant in ("base", "con", "gen")]
    assert computed(tiny(train={"learning_rate": 0.01}), copy) == [*models, "evaluate", "recommend"]


def test_a_setting_of_one_variant_leaves_the_others_alone(copy):
    masked = {"alignment_settings": {"gen": {"mask_ratio": 0.4}}}
    assert computed(tiny(train=masked), copy) == [
        "train lightgcn gen 2023",
        "evaluate",
        "recommend",
    ]


def test_a_prompt_template_reruns_profiles_and_what_follows(copy, tmp_path):
    same, changed = (copy_templates(tmp_path / name) for name in ("same", "changed"))
    template = changed / "books" / "item.toml"
    template.write_text(template.read_text().replace("You describe", "You describe briefly"))
    assert computed(tiny(item_profiles={"prompts_dir": str(same)}), copy) == []
    # Base reads no text.
    aligned = [f"train lightgcn {variant} 2023" for variant in ("con", "gen")]
    expected = ["item_profiles", "user_profiles", "embed", *aligned, "evaluate", "recommend"]
    assert computed(tiny(item_profiles={"prompts_dir": str(changed)}), copy) == expected


def copy_templates(folder: Path) -> Path:
    return shutil.copytree(Path(prompts.__file__).parent, folder)


def digests(store: Path) -> dict[str, str]:
    """sha256 of every file of every artifact but its manifest, which tells time and machine."""
    # The report is no stage's: the full pipeline adds it in the end.
    folders = [file.parent for file in store.glob("[!.]*/*/manifest.json") if file.parts[-3] != "report"]
    files = [path for folder in folders for path in folder.iterdir() if path.name != "manifest.json"]
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
