import csv
import dataclasses
import json
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlmrec_core.export import ExportError, ExportTables, write_files
from rlmrec_core.tables import RECOMMENDATIONS
from rlmrec_core.vectors import Vectors

HOSTILE = '=1+1, "quoted"\n<script>'


def tables(seed: int = 0, titles=("one", None, HOSTILE), data: str = "shop") -> ExportTables:
    rng = np.random.default_rng(seed)
    vectors = Vectors(rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32))
    rows = [("007", 1, "c", titles[2], 0.5), ("007", 2, "b", titles[1], 0.25), ("ä b", 1, "a", titles[0], -1.0)]
    lists = pa.Table.from_pylist([dict(zip(RECOMMENDATIONS.names, row, strict=True)) for row in rows], RECOMMENDATIONS)
    return ExportTables(
        data, "lightgcn base 1 ab", "2026-01-02T03:04:05+00:00", lists, ["007", "ä b"], list("abc"), titles, vectors
    )


def test_every_form_comes_back_equal(tmp_path):
    given = tables()
    write_files(given, tmp_path, ("parquet", "csv", "jsonl", "npy", "csv"))
    here = tmp_path / "current"
    lists = given.lists.to_pandas()
    assert pd.read_parquet(here / "lists.parquet").equals(lists)
    sheet = pd.read_csv(here / "lists.csv", dtype={"user_id": str})
    assert sheet["title"].fillna("-").tolist() == ["'" + HOSTILE, "-", "one"]
    assert sheet["user_id"].tolist() == lists["user_id"].tolist()
    lines = [json.loads(line) for line in (here / "lists.jsonl").read_text().split("\n") if line]
    assert [(line["user_id"], [item["item_id"] for item in line["items"]]) for line in lines] == [
        ("007", ["c", "b"]),
        ("ä b", ["a"]),
    ]
    items = pd.read_parquet(here / "items.parquet")
    assert items["item_id"].tolist() == json.loads((here / "item_ids.json").read_text()) == ["a", "b", "c"]
    assert np.array_equal(np.stack(items["vector"]), given.vectors.items)
    assert np.array_equal(np.load(here / "items.npy"), given.vectors.items)
    assert np.array_equal(np.load(here / "users.npy"), given.vectors.users)
    manifest = json.loads((here / "manifest.json").read_text())
    assert (manifest["data"], manifest["vector_size"]) == ("shop", 4)
    assert {name: entry["rows"] for name, entry in manifest["files"].items()} == {
        **{"lists.parquet": 3, "users.parquet": 2, "items.parquet": 3, "lists.csv": 3, "lists.jsonl": 2},
        **{"users.npy": 2, "items.npy": 3, "user_ids.json": 2, "item_ids.json": 3},
    }


def test_a_cell_of_a_csv_is_no_formula_and_ids_stay_what_they_are(tmp_path):
    cells = {"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\uff1d1": "'\uff1d1"}
    cells |= {"1=1": "1=1", "": "", "a\n=1": "a\n=1"}
    ids = {"-aB_9-x": "-aB_9-x", "@älice": "@älice", "+1": "+1", "a=b": "a=b", "=A1": "'=A1", "@SUM(1)": "'@SUM(1)"}
    ids |= {"-2+3": "'-2+3", "-a\n|": "'-a\n|", "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0"}
    rows = [(id_, 1, id_, title, 0.5) for id_, title in zip(ids, cells, strict=True)]
    lists = pa.Table.from_pylist([dict(zip(RECOMMENDATIONS.names, row, strict=True)) for row in rows], RECOMMENDATIONS)
    write_files(dataclasses.replace(tables(), lists=lists), tmp_path, ("csv", "parquet"))
    with (tmp_path / "current" / "lists.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["title"] for row in found] == list(cells.values())
    assert [row["user_id"] for row in found] == [row["item_id"] for row in found] == list(ids.values())
    assert pq.read_table(tmp_path / "current" / "lists.parquet").equals(lists)


def test_a_run_and_its_judgements_are_what_trec_eval_reads(tmp_path):
    ids = ["7 a", "%20", "ü\u2003\t1"]
    rows = [
        (id_, rank, item, None, score) for id_ in ids for rank, (item, score) in enumerate([("b", 0.1), (" c", -1)])
    ]
    lists = pa.Table.from_pylist([dict(zip(RECOMMENDATIONS.names, row, strict=True)) for row in rows], RECOMMENDATIONS)
    held_out = pa.table({"user_id": ids, "item_id": ["b", "b", " c"]})
    here = write_files(dataclasses.replace(tables(), lists=lists, held_out=held_out), tmp_path, ("trec",))
    run = [line.split() for line in (here / "run.trec").read_text().split("\n")[:-1]]
    judged = [line.split() for line in (here / "qrels.trec").read_text().split("\n")[:-1]]
    assert {len(line) for line in run} == {6} and {len(line) for line in judged} == {4}
    assert [unquote(line[0]) for line in run] == [row[0] for row in rows]
    assert [unquote(line[2]) for line in run] == [row[2] for row in rows]
    assert [np.float32(line[4]) for line in run] == [np.float32(row[4]) for row in rows]
    assert {line[5] for line in run} == {"lightgcn-base-1-ab"}
    assert [(unquote(user), unquote(item), grade) for user, _, item, grade in judged] == [
        ("7 a", "b", "1"), ("%20", "b", "1"), (ids[2], " c", "1")
    ]  # fmt: skip
    assert not (write_files(tables(), tmp_path, ("trec",)) / "qrels.trec").exists()


def test_the_index_of_faiss_finds_what_the_vectors_say(tmp_path):
    faiss = pytest.importorskip("faiss", reason="faiss-cpu is not installed")
    given = tables()
    made = write_files(given, tmp_path, ("faiss",))
    index = faiss.read_index(str(made / "items.faiss"))
    scores, found = index.search(given.vectors.users, 3)
    expected = given.vectors.users @ given.vectors.items.T
    assert np.array_equal(found, np.argsort(-expected))
    assert np.allclose(scores, -np.sort(-expected))


def test_a_second_export_replaces_and_the_one_before_stays(tmp_path):
    killed, under_way = (tmp_path / f".{year}0102T030405.000006Z" for year in (2020, 2999))
    killed.mkdir()
    under_way.mkdir()
    made = [write_files(tables(seed), tmp_path, ("npy",)) for seed in range(3)]
    assert [path.exists() for path in [*made, killed, under_way]] == [False, True, True, False, True]
    assert (tmp_path / "current").resolve() == made[2]
    assert np.array_equal(np.load(tmp_path / "current" / "items.npy"), tables(2).vectors.items)


def test_a_failing_export_leaves_the_old_one(tmp_path, monkeypatch):
    made = write_files(tables(), tmp_path, ("npy",))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlmrec_core.export.files.pq.write_table", full)
    with pytest.raises(ExportError, match="No space left on device"):
        write_files(tables(1), tmp_path, ("npy", "parquet"))
    assert (tmp_path / "current").resolve() == made
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([made.name, "current"])


def test_what_is_no_export_is_left_alone(tmp_path):
    own = tmp_path / "20260102T030405" / "manifest.json"
    own.parent.mkdir()
    own.write_text("mine")
    for seed in range(3):
        write_files(tables(seed), tmp_path, ("csv",))
    assert own.read_text() == "mine"
    (tmp_path / "current").unlink()
    before = set(tmp_path.iterdir())
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="choose another folder"):
        write_files(tables(), tmp_path, ("csv",))
    assert (tmp_path / "current" / "mine.txt").read_text() == "mine"
    assert set(tmp_path.iterdir()) == before | {tmp_path / "current"}
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        write_files(tables(), tmp_path / "file", ("csv",))
