"""The command line, short of starting anything."""

import json
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from flows.artifacts import collectable
from flows.cli import app
from flows.options import settings as read_settings
from flows.outcome import metrics_table
from flows.runs import unseen
from flows.terminal import Console
from storage import ArtifactRef, ArtifactStore, artifact_key
from tasks import datasets, promotion
from tasks.promotion import datasets_of


def invoke(*arguments) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def read(*assignments, **options):
    return read_settings(options.get("file"), options.get("dataset"), options.get("data"), list(assignments))


def test_settings_are_typed_as_toml_and_else_taken_as_text():
    config = read("train.max_epochs=7", 'train.variants=["base"]', "prepare.scope=temporal", "train.learning_rate=1e-2")
    assert (config.train.max_epochs, config.train.variants) == (7, ("base",))
    assert (config.prepare.scope, config.train.learning_rate) == ("temporal", 0.01)


def test_settings_go_before_the_data_set_and_the_file(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text('dataset = "movielens"\n[train]\nmax_epochs = 5\nbatch_size = 64\n')
    config = read("train.max_epochs=7", file=file)
    assert (config.ingest.reader, config.train.max_epochs, config.train.batch_size) == ("movielens", 7, 64)


def test_the_folder_of_the_data_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read(dataset="movielens", data=Path("ml")).ingest.path == str(tmp_path / "ml")
    assert read("ingest.path=raw").ingest.path == str(tmp_path / "raw")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--set", "train.max_epochs"], "expected SECTION.FIELD=VALUE"),
        (["--set", "max_epochs=3"], "expected SECTION.FIELD=VALUE"),
        (["--set", "train.max_epoch=3"], "train.max_epoch"),
        (["--dataset", "netflix"], "unknown data set"),
        (["--set", "train.max_epochs=-1"], "train.max_epochs"),
        (["--set", "prepare.kcore=3"], "prepare.kcore: there is no such setting: did you mean k_core?"),
        (["--set", "train.k_core=3"], "train.k_core: there is no such setting: did you mean prepare.k_core?"),
        (["--set", "trian.seeds=[1]"], "trian: there is no such section: did you mean [train]?"),
        (["--set", "prepare.scope=temporl"], "'temporl' is none of 'global'"),
        (["--set", "train.max_epochs=many"], "train.max_epochs: 'many' should be a valid integer"),
        (["--set", "embed.user_vectors=http://me:pa55@host/v1?key=pa55"], "'http://***@host/v1?***'"),
        (["--dataset", "movielns"], "did you mean movielens?"),
        (["--config", "absent.toml"], "absent.toml"),
        (["--store", "s3://me:pa55@bucket/x"], "an address must hold no password"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, complaint):
    status, output = invoke("run", *arguments)
    assert status == 2
    assert complaint in output
    assert "Traceback" not in output and "pa55" not in output


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"[prepare\n", "own.toml is no valid TOML"),
        ("[prepare]\nk_core = 3\n".encode("utf-16"), "own.toml is UTF-16 text: save it as UTF-8"),
        ("# caf\xe9".encode("latin-1"), "own.toml, line 1: this is not UTF-8 text"),
        (b"dataset = 5", "unknown data set 5"),
        (b"train = 3", "train: 3 stands where a table of settings belongs"),
        (b"k_core = 3", "k_core: there is no such section: did you mean prepare.k_core?"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path, content, complaint):
    (tmp_path / "own.toml").write_bytes(content)
    status, output = invoke("run", "--config", tmp_path / "own.toml")
    assert status == 2
    assert complaint in output and len(output.splitlines()) == 1


def test_a_byte_order_mark_is_read_over_and_none_empties_a_setting(tmp_path):
    (tmp_path / "own.toml").write_bytes(b'\xef\xbb\xbf[prepare]\nmin_rating = "none"\n')
    assert read(file=tmp_path / "own.toml").prepare.min_rating is None
    assert read("prepare.min_rating=none", "item_profiles.fallback=none").prepare.min_rating is None
    assert read().prepare.min_rating is not None


def test_a_damaged_note_of_the_store_is_one_line(tmp_path):
    (tmp_path / "datasets" / "shop").mkdir(parents=True)
    (tmp_path / "datasets" / "shop" / "latest.json").write_text("{")
    status, output = invoke("artifacts", "gc", "--store", tmp_path)
    assert status == 1 and "datasets/shop/latest.json" in output and len(output.splitlines()) == 1


def test_what_nobody_foresaw_is_one_line_and_its_traceback_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.artifacts.leftovers", lambda _: 1 / 0)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    status, output = invoke("artifacts", "gc", "--store", tmp_path)
    assert status == 1 and output.startswith("error: unexpected ZeroDivisionError: division by zero\n")
    assert "Traceback" in (tmp_path / "logs" / "command.log").read_text() and "Traceback" not in output


def test_a_check_shows_every_fault_of_a_shop_at_once(tmp_path):
    orders = [f"c{user},s{item},2024-01-02T00:00:00" for user in range(30) for item in range(10)]
    orders += ["c1,,2024-01-02T00:00:00", "c2,s3,soon"]
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,when", *orders]) + "\n")
    (tmp_path / "items.csv").write_text("item_id,name\n" + "".join(f"s{item},Thing {item}\n" for item in range(10)))
    given = ["--dataset", "tabular", "--data", tmp_path, "--set", "ingest.columns.timestamp=when"]
    _, output = invoke("check", *given, "--json")
    found = {(fault["file"], fault["column"], fault["value"]) for fault in json.loads(output)["faults"]}
    assert ("interactions.csv", "when", "soon") in found and ("interactions.csv", "item_id", "") in found
    _, output = invoke("check", *given)
    assert "soon" in output and "way out" in output and "Traceback" not in output


@pytest.fixture
def lineage(tmp_path) -> tuple[ArtifactStore, list[ArtifactRef]]:
    """Two ingests, the older one with a prepare made from it."""
    store = ArtifactStore(str(tmp_path))
    old = put(store, "ingest", 1, {})
    new = put(store, "ingest", 2, {})
    return store, [old, new, put(store, "prepare", 1, {"ingest": old.key})]


def put(store: ArtifactStore, stage: str, version: int, inputs: dict[str, str]) -> ArtifactRef:
    key = artifact_key(stage, version, {}, inputs)
    with store.writer(stage, key, version=version, config={}, inputs=inputs) as out:
        out.table("numbers", pa.table({"n": [version]}))
    return ArtifactRef(stage, key, store.url)


def test_a_run_without_anything_to_measure_says_so():
    assert "nothing was measured" in str(metrics_table([]))


def test_models_are_shown_at_20_in_the_narrowest_terminal():
    row = {"part": "validation", "label": "lightgcn con noise=0.05", "settings": "", "value": 0.5}
    metrics = [row | {"metric": name, "k": k} for k in (5, 20) for name in ("recall", "ndcg", "coverage", "novelty")]
    screen = Console(width=80, file=StringIO())
    screen.print(metrics_table(metrics))
    first, header, _, model, _ = screen.file.getvalue().splitlines()
    assert len(first) <= 80
    assert [cell.strip() for cell in header.split("┃")[1:-1]] == [
        "validation", "recall@20", "ndcg@20", "coverage@20", "novelty@20",
    ]  # fmt: skip
    assert [cell.strip() for cell in model.split("│")[1:-1]] == ["lightgcn con noise=0.05", *4 * ["0.5000"]]


def test_artifacts_are_listed_and_shown_with_their_lineage(lineage):
    store, (old, new, prepared) = lineage
    status, output = invoke("artifacts", "list", "--store", store.url)
    assert status == 0 and all(ref.key[:12] in output for ref in (old, new, prepared))
    status, output = invoke("artifacts", "show", prepared.key[:8], "--store", store.url)
    assert status == 0 and f"ingest {old.key[:12]}" in output
    status, output = invoke("artifacts", "show", "no such key", "--store", store.url)
    assert status == 2 and "0 artifacts" in output


def test_artifacts_are_told_apart_and_their_columns_named(lineage):
    store, (old, _, prepared) = lineage
    datasets.remember(store, "shop", {"prepare": [prepared.key]})
    assert datasets_of(store)[prepared.key] == datasets_of(store)[old.key] == ["shop"]
    run = {"stages": [{"stage": "prepare", "key": prepared.key}], "recommendations": "x", "config": {}}
    promotion.promote(store, "shop", run, "passed the gates")
    status, output = invoke("artifacts", "list", "prepare", "--store", store.url)
    (line,) = [line for line in output.splitlines() if prepared.key[:12] in line]
    assert status == 0 and "shop" in line and "*" in line and old.key[:12] not in output
    assert "n: int64" in invoke("artifacts", "show", prepared.key, "--store", store.url)[1]


def test_a_mistyped_stage_and_an_empty_store_are_errors(lineage, tmp_path):
    store, _ = lineage
    status, output = invoke("artifacts", "list", "prepar", "--store", store.url)
    assert status == 1 and "did you mean prepare?" in output
    for command in ("list", "verify"):
        status, output = invoke("artifacts", command, "--store", tmp_path / "nowhere")
        assert status == 1 and "there is no artifact in" in output


def test_a_variable_that_the_worker_has_not_is_named_where_it_is_set():
    lacking = "no key: set OPENAI_API_KEY in the environment"
    assert unseen(lacking, {"OPENAI_API_KEY": "sk-1"}) == "OPENAI_API_KEY"
    assert unseen(lacking, {}) is None and unseen("no such model", {"OPENAI_API_KEY": "sk-1"}) is None


def test_verify_finds_an_altered_byte(lineage):
    store, (old, *_) = lineage
    assert invoke("artifacts", "verify", "--store", store.url)[0] == 0
    file = Path(store.address(old, "numbers.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    status, output = invoke("artifacts", "verify", "--store", store.url)
    assert status == 1
    assert [line.split()[1] for line in output.splitlines() if line.startswith("damaged")] == [str(old)]


def test_gc_keeps_what_the_newest_were_made_from_and_deletes_only_when_told(lineage):
    store, (old, new, prepared) = lineage
    newer = put(store, "ingest", 3, {})
    assert collectable(store, keep=1) == [new]
    invoke("artifacts", "gc", "--keep", 1, "--store", store.url)
    assert set(store.refs()) == {old, new, newer, prepared}
    invoke("artifacts", "gc", "--keep", 1, "--delete", "--store", store.url)
    assert set(store.refs()) == {old, newer, prepared}
