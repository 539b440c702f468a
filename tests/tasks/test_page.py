"""The report: what it says is what the run made, and nothing hostile works in it."""

import html
import json
import re
from pathlib import Path

import pytest

from rlmrec_core.reports import page
from storage import ArtifactStore, StoreConfig
from tasks.datasets import remember
from tasks.page import report_page
from tasks.results import Results
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


def content_of(text: str) -> dict:
    (data,) = re.findall(r'<script type="application/json" id="content">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


HOSTILE = ["</script><script>alert(1)</script>", "<!--<script>", "{{content}}", "a\u2028b", '"&<x>']


@pytest.mark.parametrize("hostile", HOSTILE)
def test_data_cannot_leave_their_place(hostile):
    text = page(hostile, {"a": [hostile]})
    assert content_of(text) == {"a": [hostile]}
    assert text.count("<script") == page("title", {"a": []}).count("<script")
    assert html.escape(hostile) in text


def test_what_it_shows_is_what_the_run_made(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    done = run_by_hand(tiny(train={"variants": ["base", "con"]}), store)
    artifacts = ArtifactStore.open(store)
    remember(artifacts, "sample", {stage: [one.ref.key for one in made] for stage, made in done.items()})
    results = Results.open(artifacts)
    address = report_page(artifacts, results)
    assert report_page(artifacts, results) == address
    text = Path(address).read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=|https?://(?!www\.w3\.org)", text)  # nothing from elsewhere
    shown = content_of(text)
    assert [user["id"] for user in shown["users"]] == results.user_ids
    assert {item["id"] for item in shown["items"]} == set(results.item_ids)
    items = [item["id"] for item in shown["items"]]
    for user in shown["users"]:
        assert [items[row[0]] for row in user["list"]] == [row.item_id for row in results.recommend(user["id"], 3)]
        assert all(row[2] for row in user["list"])
        known = results.recommender.known(results.user(user["id"]))
        assert {items[item] for item in user["history"]} == {results.item_ids[item] for item in known}
    first = shown["items"][0]
    assert [items[row[0]] for row in first["similar"]] == [row.item_id for row in results.similar(first["id"], 6)]
    assert first["popularity"] == max(item["popularity"] for item in shown["items"])
    assert results.model.label in shown["verdict"][0]
    assert "con and base" in shown["verdict"][-1] or "con is" in shown["verdict"][-1]
    assert {"lightgcn base", "lightgcn con", "popularity"} <= {row[0] for row in shown["metrics"]["rows"]}
    assert sum(row[2] for row in shown["costs"]) == len(results.user_ids) + len(results.item_ids)
    assert shown["curve"]
    assert not shown["settings_from"], "the sample's settings were chosen on the sample"


def test_it_says_what_the_preset_auto_chose_and_from_what(tmp_path):
    store = StoreConfig(url=str(tmp_path / "artifacts"))
    done = run_by_hand(tiny(train={"preset": "auto", "variants": ["base"]}), store)
    artifacts = ArtifactStore.open(store)
    remember(artifacts, "sample", {stage: [one.ref.key for one in made] for stage, made in done.items()})
    results = Results.open(artifacts)
    shown = content_of(Path(report_page(artifacts, results)).read_text(encoding="utf-8"))
    n_users, n_items = len(results.user_ids), len(results.item_ids)
    assert f"starting values for {n_users:,} users and {n_items:,} items" in shown["settings_from"]
    assert "not chosen on these data" in shown["settings_from"]
    settings = dict(shown["settings"])
    assert float(settings["weight_decay"]) == pytest.approx(0.02 / (n_users + n_items), rel=0.05)
    assert (settings["patience"], settings["backbone_settings.n_layers"]) == ("10", "3")
