"""What the store remembers of each data set."""

from dataclasses import replace

import pytest

from rlmrec_core.config import load_config
from storage import ArtifactRef, StoreError
from tasks import datasets
from tasks.gates import Gates
from tasks.last_run import last_config
from tasks.stage import StageResult, whole_state
from tasks.summary import show_stages


def named(**ingest: str) -> str:
    return load_config(overrides={"ingest": ingest}).data_name


def test_a_name_is_made_of_reader_and_path():
    assert named() == "sample" and load_config(overrides={"name": "shop"}).data_name == "shop"
    first, second = (named(reader="tabular", path=f"/{shop}/My Data") for shop in ("a", "b"))
    assert first.startswith("tabular-my-data-") and first != second
    assert first != named(reader="tabular", path="/a/My Data", interactions_file="other.csv")
    assert load_config(overrides={"name": named(reader="tabular", path="/a/\u00fc")})


@pytest.mark.parametrize("name", ["Shop", "../shop", "", "a" * 65, "a b"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        load_config(overrides={"name": name})


def test_the_only_data_set_is_meant_and_the_sample_does_not_count(artifacts):
    assert datasets.chosen(artifacts, None) == "sample"
    datasets.remember(artifacts, "sample", {"ingest": ["1"]})
    assert datasets.chosen(artifacts, None) == "sample"
    datasets.remember(artifacts, "shop", {"ingest": ["2"]})
    assert datasets.chosen(artifacts, None) == "shop" and datasets.chosen(artifacts, "sample") == "sample"
    datasets.remember(artifacts, "other", {"ingest": ["3"]})
    with pytest.raises(datasets.UnknownDataSet, match="other, shop"):
        datasets.chosen(artifacts, None)
    assert datasets.latest_keys(artifacts, "shop") == {"ingest": ["2"]}


def test_what_is_noted_stays_unless_it_is_to_be_replaced(artifacts):
    datasets.remember(artifacts, "shop", {"ingest": ["1"]})
    datasets.remember(artifacts, "shop", {"ingest": ["2"], "train": ["3", "4"]}, anew=False)
    assert datasets.latest_keys(artifacts, "shop") == {"ingest": ["1"], "train": ["3", "4"]}


def test_settings_are_those_of_the_named_data_set(artifacts):
    with pytest.raises(datasets.UnknownDataSet, match="shop"):
        last_config(artifacts, "shop")
    datasets.write(artifacts, "shop", "last-run.json", {"config": {"recommend": {"k": 7}}})
    assert last_config(artifacts, "shop").recommend.k == 7 and last_config(artifacts, "sample").recommend.k != 7
    datasets.write(artifacts, "shop", "latest.json", {"ingest": "no list"})
    with pytest.raises(StoreError, match=r"latest\.json"):
        datasets.latest_keys(artifacts, "shop")


def test_a_summary_says_first_what_is_incomplete_and_why(artifacts, store, monkeypatch):
    pages = []
    monkeypatch.setattr("tasks.summary.report.show_markdown", lambda key, page, title: pages.append(page))
    whole = StageResult(ArtifactRef("ingest", "1" * 64, artifacts.url), "computed", 1.0, 137, 10)
    lacking = replace(whole, ref=ArtifactRef("embed", "2" * 64, artifacts.url), unfinished="47 of 137 texts: too busy")
    gates = Gates(artifacts, load_config())
    gates.done = {"ingest": [whole]}
    show_stages(store, load_config(), gates)
    gates.done |= {"embed": [lacking]}
    show_stages(store, load_config(), gates)
    assert "INCOMPLETE" not in pages[0] and "## INCOMPLETE\n\n- **embed**: 47 of 137 texts: too busy" in pages[1]
    assert "retry-failed" in pages[1] and pages[1].startswith("## Data set sample: passed")
    assert whole_state([whole]).name == "Completed" and whole_state([whole, lacking]).name == "Incomplete"
