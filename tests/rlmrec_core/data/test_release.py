"""RLMRec's data as its authors publish them."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, check, ingest
from tests.rlmrec_core.data.published import WIDTH, pickled, write, write_release
from tests.rlmrec_core.data.worlds import drain


def config(folder: Path, **settings) -> IngestConfig:
    return IngestConfig(**({"reader": "rlmrec-release", "path": str(folder)} | settings))


def read(folder: Path, **settings) -> dict[str, pa.Table]:
    return drain(ingest(config(folder, **settings)).tables)


def test_the_whole_folder_is_read(tmp_path):
    tables = read(write_release(tmp_path))
    rows = tables["interactions"].to_pylist()
    train = pickled_matrix(tmp_path, "trn")
    found = {(int(row["user_id"]), int(row["item_id"])) for row in rows if row["part"] == "train"}
    assert found == train and {row["part"] for row in rows} == {"train", "validation", "test"}
    assert rows[0]["rating"] is rows[0]["review"] is rows[0]["timestamp"] is None
    assert len(tables["items"]) == 0
    profiles = tables["imported_item_profiles"].to_pylist()
    assert profiles[3] == {"id": "3", "summarization": "Likes night 3.", "reasoning": "Told by the items."}
    assert tables["imported_user_vectors"]["id"].to_pylist() == [str(user) for user in range(30)]
    assert {len(vector) for vector in tables["imported_item_vectors"]["vector"].to_pylist()} == {WIDTH}


def pickled_matrix(folder: Path, name: str) -> set[tuple[int, int]]:
    from rlmrec_core.data.pickles import read_pickle

    matrix = read_pickle(folder / f"{name}_mat.pkl")
    return set(zip(matrix.row.tolist(), matrix.col.tolist(), strict=True))


def test_profiles_and_vectors_may_be_missing_and_zeros_are_no_interactions(tmp_path):
    write_release(tmp_path)
    for name in ("usr_prf", "itm_prf", "usr_emb_np", "itm_emb_np"):
        (tmp_path / f"{name}.pkl").unlink()
    write(tmp_path / "tst_mat.pkl", sp.coo_matrix(([1.0, 0.0], ([0, 1], [2, 3])), shape=(30, 24)))
    tables = read(tmp_path)
    assert set(tables) == {"interactions", "items", "imported_item_profiles", "imported_user_profiles"}
    assert [len(tables[f"imported_{side}_profiles"]) for side in ("item", "user")] == [0, 0]
    test = [row for row in tables["interactions"].to_pylist() if row["part"] == "test"]
    assert [(row["user_id"], row["item_id"]) for row in test] == [("0", "2")]


def test_odd_texts_of_profiles(tmp_path):
    write_release(tmp_path)
    profiles = {0: {"profile": "half \ud800", "reasoning": None}, "1": "plain", np.int64(2): {"profile": " "}, 3: {}}
    write(tmp_path / "itm_prf.pkl", profiles)
    found = read(tmp_path)["imported_item_profiles"].to_pylist()
    assert [(row["id"], row["reasoning"]) for row in found] == [("0", None), ("1", None)]
    assert found[0]["summarization"].startswith("half \ufffd")


def test_a_text_that_is_named_ever_again_is_refused(tmp_path):
    write_release(tmp_path)
    text = "a" * (1 << 20)
    write(tmp_path / "itm_prf.pkl", {number: {"profile": text, "reasoning": text} for number in range(200)})
    with pytest.raises(DataError, match=r"itm_prf.pkl: repeats its texts so often that they would fill the memory"):
        read(tmp_path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["coo", "csr", "csc"])
def test_every_protocol_and_form_of_matrix_reads_the_same(tmp_path, protocol, form):
    write_release(tmp_path / "plain")
    write_release(tmp_path / "other", protocol=protocol, form=form)
    found, expected = read(tmp_path / "other"), read(tmp_path / "plain")
    order = [("part", "ascending"), ("user_id", "ascending"), ("item_id", "ascending")]
    assert found.pop("interactions").sort_by(order).equals(expected.pop("interactions").sort_by(order))
    assert found == expected


class Runs:
    def __reduce__(self):
        return eval, ("1",)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("trn_mat", [1], "trn_mat.pkl: holds a list, not a COO matrix"),
        ("tst_mat", sp.coo_matrix((30, 25)), "tst_mat.pkl: is 30 x 25, the train part is 30 x 24"),
        ("usr_prf", [1], "usr_prf.pkl: holds a list, not a dict of profiles"),
        ("usr_prf", {0: {"profile": 1}}, "usr_prf.pkl: the entry of 0 is no profile"),
        ("usr_prf", {1 << 9000: "a"}, "usr_prf.pkl: .* a key that is too long a number"),
        ("usr_prf", {1 << 40: "a"}, "usr_prf.pkl: a key is no number"),
        ("itm_prf", {"x": "a"}, "itm_prf.pkl: a key is no number"),
        ("itm_prf", {0: {"profile": Runs()}}, r"asks for (__builtin__|builtins).eval"),
        ("itm_emb_np", {"a": 1}, "itm_emb_np.pkl: holds a dict, not an array"),
        ("itm_emb_np", np.ones((23, 4)), "itm_emb_np.pkl: holds 23 vectors for 24 items"),
        ("itm_emb_np", np.ones((24, 4), int), "is 24 x 4 of int64, not a matrix of floats"),
        ("usr_emb_np", np.full((30, 4), np.nan), "usr_emb_np.pkl, row 1: the vector is not finite"),
        ("usr_emb_np", np.full((30, 4), 1e300), "usr_emb_np.pkl, row 1: the vector is not finite"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_what_is_wrong_is_told(tmp_path, name, value, message):
    write(write_release(tmp_path) / f"{name}.pkl", value)
    with pytest.raises(DataError, match=message):
        read(tmp_path)
    assert check(config(tmp_path)).usable is False


def test_the_folder_of_the_whole_release_names_those_within(tmp_path):
    for name in ("amazon", "yelp"):
        write_release(tmp_path / name)
    with pytest.raises(DataError, match=r"holds the data sets amazon, yelp; set ingest.path to one of these folders"):
        read(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "amazon", item_vectors_file="none.npy")
    (tmp_path / "yelp" / "val_mat.pkl").unlink()
    with pytest.raises(DataError, match=r"val_mat\.pkl: no such file"):
        read(tmp_path / "yelp")


MATRIX = np.arange(12, dtype=np.float32).reshape(3, 4)


def parquet(file: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


@pytest.fixture
def folder(tmp_path):
    parts = {"train": ([0, 1], ["a", "b"]), "validation": ([0], ["b"]), "test": ([1], ["a"])}
    for part, (users, items) in parts.items():
        parquet(tmp_path / f"{part}.parquet", user=users, item=items)
    return tmp_path


@pytest.mark.parametrize("kind", ["npy", "half", "safetensors", "bfloat16", "float8", "parquet", "fixed", "large"])
def test_vectors_of_ones_own(folder, kind):
    """With the ids that stand beside a matrix, as an export has them, or in the table."""
    names = {"half": "npy", "bfloat16": "safetensors", "float8": "safetensors", "fixed": "parquet", "large": "parquet"}
    file = folder / f"v.{names.get(kind, kind)}"
    ids = ["b", "zz", "a"]
    if file.suffix == ".npy":
        np.save(file, MATRIX.astype(np.float16) if kind == "half" else MATRIX)
    elif file.suffix == ".safetensors":
        kept = {"bfloat16": torch.bfloat16, "float8": torch.float8_e4m3fn}.get(kind, torch.float32)
        save_tensors({"embeddings": torch.from_numpy(MATRIX).to(kept)}, file)
    else:
        types = {"fixed": pa.list_(pa.float32(), 4), "large": pa.large_list(pa.float64())}
        parquet(file, item_id=ids, vector=pa.array(MATRIX.tolist(), types.get(kind, pa.list_(pa.float32()))))
    settings = {"reader": "splits", "item_vectors_file": file.name}
    if file.suffix != ".parquet":
        assert read(folder, **settings)["imported_item_vectors"]["id"].to_pylist() == ["0", "1", "2"]
        (folder / "item_ids.json").write_text(json.dumps(ids))
    found = read(folder, **settings)["imported_item_vectors"]
    assert found["id"].to_pylist() == ids
    assert np.array_equal(np.array(found["vector"].to_pylist()), MATRIX)


def objects(file: Path) -> None:
    np.save(file, np.array([Runs()], object), allow_pickle=True)


def archive(file: Path) -> None:
    with file.open("wb") as out:
        np.savez(out, MATRIX)


def six_bits(file: Path) -> None:
    head = json.dumps({"a": {"dtype": "F6_E2M3", "shape": [1, 4], "data_offsets": [0, 3]}}).encode()
    file.write_bytes(len(head).to_bytes(8, "little") + head + b"000")


NO_FLOATS = pa.array([[]], pa.list_(pa.float32()))


def column_twice(file: Path) -> None:
    vector = pa.array([[1.0]])
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), vector, vector], ["id", "vector", "vector"]), file)


def broken_page(file: Path) -> None:
    """The end is as it was, what stands before it is not."""
    parquet(file, id=["a"], vector=[[1.0]])
    content = file.read_bytes()
    file.write_bytes(content[:4] + b"\xff" * 40 + content[44:])


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("v.npy", objects, "v.npy: cannot be read.*pickles are not read"),
        ("v.npy", archive, "v.npy: is an archive of arrays"),
        ("v.npy", lambda file: file.write_bytes(b"x"), "v.npy: cannot be read"),
        ("v.npy", lambda file: file.write_bytes(pickled(MATRIX)), "v.npy: cannot be read"),
        ("v.npy", lambda file: np.save(file, MATRIX[0]), "is 4 of float32, not a matrix of floats"),
        ("v.npy", lambda file: np.save(file, np.float32(1)), "is a single number of float32, not a matrix"),
        ("v.pkl", lambda file: file.write_bytes(pickled(MATRIX)), "v.pkl: is no file of vectors.*pickles are not read"),
        ("v.safetensors", lambda file: file.write_bytes(b"x"), "v.safetensors: cannot be read"),
        ("v.safetensors", six_bits, "v.safetensors: cannot be read"),
        ("v.safetensors", lambda file: save_file({"a": MATRIX, "b": MATRIX}, file), r"holds 2 tensors \(a, b\)"),
        ("v.parquet", lambda file: file.write_bytes(b"x"), "v.parquet: is no Parquet file"),
        ("v.parquet", lambda file: parquet(file, item=["a"]), "column 'vector': the column is missing"),
        ("v.parquet", lambda file: parquet(file, vector=[[1.0]]), "column 'item_id': the column is missing"),
        ("v.parquet", lambda file: parquet(file, id=["a"], vector=[[]]), "column 'vector': holds nulls, or"),
        ("v.parquet", lambda file: parquet(file, id=["a"], vector=NO_FLOATS), "column 'vector': holds empty lists"),
        ("v.parquet", lambda file: parquet(file, id=[["a"]], vector=[[1.0]]), "'id': holds list.*, which are no ids"),
        ("v.parquet", lambda file: parquet(file, id=[1.0], vector=[[1.0]]), "'id': holds double, which are no ids"),
        ("v.parquet", column_twice, "column 'vector': the file has several columns of this name"),
        ("v.parquet", broken_page, "v.parquet: the file cannot be read"),
        ("v.parquet", lambda file: parquet(file, id=["a"], vector=["x"]), "column 'vector': holds string"),
        ("v.parquet", lambda file: parquet(file, id=["a"], vector=[[1]]), "column 'vector': holds nulls, or"),
        ("v.parquet", lambda file: parquet(file, id=["a", "b"], vector=[[1.0], None]), "'vector': holds nulls, or"),
        ("v.parquet", lambda file: parquet(file, id=["a", "b"], vector=[[1.0], [1.0, 2.0]]), "of several lengths"),
    ],
)  # fmt: skip
def test_unusable_vectors(folder, name, make, message):
    make(folder / name)
    with pytest.raises(DataError, match=message):
        read(folder, reader="splits", item_vectors_file=name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", ": is no JSON"),
        ("[" * 100_000, ": is no JSON"),
        ("{}", ": is no list"),
        ("[1]", ": holds 1 ids, but"),
        ('["a", "b", null]', ", row 3: null is no id"),
        ('["a", ["b"], "c"]', r', row 2: \["b"\] is no id'),
        ('["a", true, "c"]', ", row 2: true is no id"),
        ('["a", "b", 3.0]', ", row 3: 3.0 is no id"),
    ],
)
def test_ids_that_do_not_fit(folder, content, message):
    np.save(folder / "v.npy", MATRIX)
    (folder / "item_ids.json").write_text(content)
    with pytest.raises(DataError, match=f"item_ids.json{message}"):
        read(folder, reader="splits", item_vectors_file="v.npy")
