"""Answers in the terminal, from a run made by hand."""

import json
from pathlib import Path

import pytest

from storage import ArtifactStore, StoreConfig
from tasks.datasets import remember
from tasks.results import Results
from tasks.stages import run_by_hand
from tests.flows.test_cli import invoke
from tests.tasks.by_hand import tiny


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> StoreConfig:
    store = StoreConfig(url=str(tmp_path_factory.mktemp("answers") / "artifacts"))
    done = run_by_hand(tiny(train={"variants": ["base"]}), store)
    keys = {stage: [one.ref.key for one in made] for stage, made in done.items()}
    remember(ArtifactStore.open(store), "shop", keys)
    return store


def test_one_users_list(store):
    results = Results.open(ArtifactStore.open(store))
    user = results.user_ids[3]
    code, output = invoke("recommend", "--user", user, "--k", 4, "--store", store.url, "--json")
    told = json.loads(output)
    assert code == 0
    assert (told["data"], told["model"]) == ("shop", "lightgcn base")
    assert [tuple(row.values()) for row in told["items"]] == [tuple(row) for row in results.recommend(user, 4)]
    code, output = invoke("recommend", "--user", user, "--k", 4, "--store", store.url)
    assert code == 0
    assert all(row["title"] in output for row in told["items"])


def test_a_relative_store_lies_where_the_command_was_given(store, tmp_path, monkeypatch):
    results = Results.open(ArtifactStore.open(store))
    item, user = results.item_ids[0], results.user_ids[0]
    monkeypatch.chdir(Path(store.url).parent)
    monkeypatch.setenv("RLMREC_HOME", str(tmp_path))
    for command in (
        ["similar", "--item", item],
        ["recommend", "--user", user],
        ["artifacts", "list"],
        ["report", "--no-open"],
    ):
        assert invoke(*command, "--store", Path(store.url).name) == (0, invoke(*command, "--store", store.url)[1]), (
            command
        )
    assert not (tmp_path / Path(store.url).name).exists()


def test_somebody_new_and_items_alike(store):
    results = Results.open(ArtifactStore.open(store))
    one, other = results.item_ids[:2]
    _, output = invoke("recommend", "--item", one, "--item", other, "--store", store.url, "--json")
    items = {row["item_id"] for row in json.loads(output)["items"]}
    assert len(items) == 10
    assert not items & {one, other}
    _, output = invoke("similar", "--item", one, "--k", 3, "--store", store.url, "--json")
    assert [row["item_id"] for row in json.loads(output)["items"]] == [row.item_id for row in results.similar(one, 3)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["recommend"], "say --user ID"),
        (["recommend", "--user", "1", "--item", "2"], "say --user ID"),
        (["recommend", "--item", "1", "--new"], "--new goes with --user ID"),
        (["recommend", "--user", "nobody"], "no user 'nobody'"),
        (["recommend", "--text", "the sea", "--user", "1"], "say --user ID"),
        (["recommend", "--text", "the sea"], "embedded no profiles of people"),
        (["similar", "--item", "nothing"], "no item 'nothing'"),
        (["similar", "--item", "1", "--name", "elsewhere"], "no recommendations for the data set 'elsewhere'"),
    ],
)
def test_what_is_wrong_is_one_line(store, arguments, complaint):
    code, output = invoke(*arguments, "--store", store.url)
    assert code in (1, 2)
    assert complaint in output
    assert "Traceback" not in output


def test_an_export_holds_the_lists_with_original_ids(store, tmp_path):
    code, output = invoke(
        "export", tmp_path / "out", "--format", "csv", "--format", "jsonl", "--format", "trec", "--store", store.url
    )
    assert code == 0, output
    lists = [json.loads(line) for line in (tmp_path / "out" / "current" / "lists.jsonl").read_text().splitlines()]
    results = Results.open(ArtifactStore.open(store))
    assert [line["user_id"] for line in lists] == results.user_ids
    assert [item["item_id"] for item in lists[0]["items"]] == [
        row.item_id for row in results.recommend(results.user_ids[0], 3)
    ]
    assert (tmp_path / "out" / "current" / "lists.csv").is_file()
    run, judged = (
        (tmp_path / "out" / "current" / name).read_text().splitlines() for name in ("run.trec", "qrels.trec")
    )
    assert [line.split()[2] for line in run] == [item["item_id"] for line in lists for item in line["items"]]
    assert judged and {line.split()[0] for line in judged} <= set(results.user_ids)


@pytest.mark.parametrize(
    ("places", "complaint"),
    [
        (["postgresql://me:pa55@host/shop"], "an address must hold no password"),
        (["postgresql://host/shop?password=pa55"], "an address must hold no password"),
        (["mysql://host/shop"], "an address begins with postgresql://"),
        (["one", "two"], "one folder and one database at most"),
    ],
)
def test_a_wrong_place_is_one_line(store, places, complaint):
    code, output = invoke("export", *places, "--store", store.url)
    assert code == 2
    assert complaint in output
    assert "pa55" not in output


def test_the_report_is_made_and_its_place_is_told(store):
    code, output = invoke("report", "--no-open", "--store", store.url)
    assert code == 0, output
    page = Path(output.strip())
    assert page.name == "report.html"
    assert Results.open(ArtifactStore.open(store)).user_ids[0] in page.read_text(encoding="utf-8")
