"""The examples run, and what they print is in the artifacts."""

import csv
import runpy
from pathlib import Path

import pytest

from flows.options import settings
from rlmrec_core.ranking import BASELINES
from storage import ArtifactStore, StoreConfig
from tasks import last_run
from tasks.gates import Gates
from tests.tasks.by_hand import run_by_hand

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """The shop's artifacts, after fewer epochs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(EXAMPLES.parent)
        config = settings(EXAMPLES / "own-shop" / "own.toml", None, None, ["train.max_epochs=3"])
    folder = tmp_path_factory.mktemp("shop")
    done: dict = {}
    for result in run_by_hand(config, StoreConfig(url=str(folder))):
        done.setdefault(result.ref.stage, []).append(result)
    artifacts = ArtifactStore(str(folder))
    gates = Gates(artifacts, config)
    gates.check("recommend", done)
    last_run.note(artifacts, config, gates)
    return folder


def shop(name: str) -> list[dict[str, str]]:
    with (EXAMPLES / "own-shop" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results(store):
    return runpy.run_path(str(EXAMPLES / "read_results.py"))["Results"](store)


def test_every_customer_of_the_shop_is_offered_articles_not_yet_bought(results):
    lists = results.lists()
    orders = shop("orders.csv")
    bought = {(order["customer"], order["sku"]) for order in orders}
    assert set(lists["user_id"]) == {order["customer"] for order in orders}
    assert lists.groupby("user_id").size().eq(5).all()
    assert not bought & set(zip(lists["user_id"], lists["item_id"], strict=True))
    names = {article["sku"]: article["name"] for article in shop("articles.csv")}
    assert (lists["title"] == lists["item_id"].map(names)).all()


def test_the_results_compare_models_and_find_similar_items(results, store, capsys):
    compared = results.comparison()
    variants = {"base", "con", "gen", *(baseline.variant for baseline in BASELINES)}
    assert variants == set(compared.index.get_level_values("variant"))
    assert compared["recall@20"].between(0, 1).all()
    similar = results.similar("TEA-01", 3)
    assert len(similar) == 3 and "TEA-01" not in similar.index and similar.is_monotonic_decreasing
    vectors = results.item_vectors()
    first, other = vectors.loc["TEA-01"], vectors.loc[similar.index[0]]
    assert similar.iloc[0] == pytest.approx(first @ other / (first @ first * (other @ other)) ** 0.5, abs=1e-5)

    runpy.run_path(str(EXAMPLES / "read_results.py"))["main"](store)
    assert "For C001:" in capsys.readouterr().out
