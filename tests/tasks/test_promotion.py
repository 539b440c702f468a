"""What is in use: moved in one step, kept in a history, and returned to."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.artifacts import collectable
from flows.cli import app
from storage import ArtifactRef, ArtifactStore, artifact_key
from tasks import datasets, promotion
from tests.storage.conftest import s3, s3_server  # noqa: F401  (fixtures)
from tests.tasks.promotes_for_ever import run

ROOT = Path(__file__).parents[2]


def written(artifacts: ArtifactStore, stage: str, number: int, **inputs: str) -> str:
    """An artifact in the store; returns its key."""
    key = artifact_key(stage, number, {}, inputs)
    with artifacts.writer(stage, key, version=number, config={}, inputs=inputs) as out:
        out.table("recommendations", pa.table({"number": [number]}))
    return key


def made(artifacts: ArtifactStore, number: int, **inputs: str) -> dict:
    """A run whose one artifact is in the store."""
    key = written(artifacts, "recommend", number, **inputs)
    stages = [{"stage": "recommend", "key": key}]
    figures = [{"what": "users", "value": float(number)}]
    return {"stages": stages, "recommendations": f"{key}.parquet", "gates": figures, "config": {}}


def promoted(artifacts: ArtifactStore, number: int) -> str:
    """Promote it; returns its key."""
    entry = promotion.promote(artifacts, "shop", made(artifacts, number), "passed the gates")
    return entry["artifacts"]["recommend"][0]


def numbers(artifacts: ArtifactStore) -> list[int]:
    now = promotion.current(artifacts, "shop")
    return [now["number"], *(entry["number"] for entry in now["history"])]


def test_a_rollback_leads_back_one_by_one(artifacts):
    keys = [promoted(artifacts, number) for number in (1, 2, 3)]
    assert numbers(artifacts) == [3, 2, 1]
    for expected in (2, 1):
        entry = promotion.rollback(artifacts, "shop")
        assert entry["number"] == expected and entry["artifacts"] == {"recommend": [keys[expected - 1]]}
    with pytest.raises(promotion.NotPossible, match="no earlier promotion"):
        promotion.rollback(artifacts, "shop")
    assert promotion.rollback(artifacts, "shop", 3)["number"] == 3 and numbers(artifacts) == [3, 2, 1]
    promoted(artifacts, 4)
    assert numbers(artifacts) == [4, 3, 2, 1]
    assert promotion.rollback(artifacts, "shop")["number"] == 3, "the one before, not those that were withdrawn"


def test_the_same_artifacts_are_no_new_promotion(artifacts):
    promoted(artifacts, 1)
    first = promotion.current(artifacts, "shop")
    promoted(artifacts, 1)
    assert promotion.current(artifacts, "shop") == first


def test_nothing_is_put_to_use_that_is_not_there(artifacts):
    with pytest.raises(promotion.NotPossible, match="run the full pipeline"):
        promotion.rollback(artifacts, "shop")
    first = promoted(artifacts, 1)
    promoted(artifacts, 2)
    lists = artifacts.address(ArtifactRef("recommend", first, artifacts.url), "recommendations.parquet")
    Path(lists).write_bytes(b"damaged")
    with pytest.raises(promotion.NotPossible, match="gone or damaged"):
        promotion.rollback(artifacts, "shop")
    assert promotion.current(artifacts, "shop")["number"] == 2
    with pytest.raises(promotion.NotPossible, match=r"users fell.*gates\.users\.action=warn"):
        promotion.promote(artifacts, "shop", {"recommendations": None, "message": "users fell"}, "by hand")
    artifacts.write_json("datasets/shop/current.json", [])
    with pytest.raises(promotion.StoreError, match="damaged"):
        promotion.current(artifacts, "shop")


def test_what_is_in_use_and_the_one_before_are_not_collected(artifacts):
    keys = [promoted(artifacts, number) for number in (1, 2, 3, 4)]
    promotion.rollback(artifacts, "shop", 2)
    assert {ref.key for ref in collectable(artifacts, 1)} == {keys[2]}, "4 is the newest, 2 in use, 1 before it"


def test_a_report_is_kept_as_long_as_its_lists(artifacts):
    keys = [promoted(artifacts, number) for number in (1, 2, 3, 4)]
    pages = [written(artifacts, "report", number, recommend=key) for number, key in enumerate(keys)]
    promotion.rollback(artifacts, "shop", 2)
    assert {ref.key for ref in collectable(artifacts, 1)} == {keys[2], pages[2]}


def test_a_rollback_looks_at_the_model_that_was_trained_once_more_for_the_lists(artifacts):
    model = written(artifacts, "train", 1)
    promotion.promote(artifacts, "shop", made(artifacts, 1, train=model), "passed the gates")
    promoted(artifacts, 2)
    artifacts.remove(ArtifactRef("train", model, artifacts.url))
    with pytest.raises(promotion.NotPossible, match="an artifact of train is gone or damaged"):
        promotion.rollback(artifacts, "shop")


def test_the_commands(artifacts, store, monkeypatch):
    monkeypatch.setattr("flows.in_use.console", Console(width=200))

    def rlmrec(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--store", store.url])
        return " ".join(f"{done.exit_code} {done.output}".split())

    assert "1 error: " in rlmrec("history") and "no full run of the data set 'sample'" in rlmrec("promote")
    promoted(artifacts, 1)
    datasets.write(artifacts, "shop", "last-run.json", made(artifacts, 2))
    assert rlmrec("promote").startswith("0 in use of shop now: promotion 2")
    assert datasets.latest_keys(artifacts, "shop") == promotion.current(artifacts, "shop")["artifacts"]
    assert rlmrec("rollback", "shop").startswith("0 in use of shop now: promotion 1")
    shown = rlmrec("history", "shop")
    assert "passed the gates" in shown and "promoted by hand" in shown
    assert rlmrec("rollback", "shop", "--to", "7") == "1 error: shop has no promotion 7"


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_killed_while_it_promotes_it_is_the_old_or_the_new(place, tmp_path, request):
    url = str(tmp_path / "store") if place == "disk" else request.getfixturevalue("s3")
    rng = np.random.default_rng(3)
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.tasks.promotes_for_ever", url], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout and child.stdout.readline() == "two promotions\n"
        time.sleep(rng.uniform(0, 0.05))
        child.kill()
        child.wait()
        child.stdout.close()
        now = promotion.current(ArtifactStore(url), "shop")
        letter = now["recommendations"][0]
        assert now["config"] == run(letter)["config"] and now["artifacts"] == {"recommend": [letter * 64]}
        assert [entry["number"] for entry in now["history"]] == list(range(now["number"] - 1, 0, -1))[:100]
