"""Files as people have them: packed, in other encodings, under odd names, or no text at all."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest

from rlmrec_core.data import check
from tests.rlmrec_core.data.small import GOOD, config, refusal, rows

TABLE = b"user,item,text\nu1,i1,a\nu2,i2,b\n"


def packed(data: bytes, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inside.csv", data)
        return out.getvalue()
    if kind == "zst":
        return pa.compress(data, codec="zstd", asbytes=True)
    return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](data)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst", "zip"])
def test_packed_files(tmp_path: Path, kind: str) -> None:
    data = b"user,item,text\nu1,i1,a\nu2,i2,b\n"
    assert rows(config(tmp_path, packed(data, kind), f"interactions.csv.{kind}")) == GOOD
    assert rows(config(tmp_path, packed(data, kind), "interactions.csv")) == GOOD
    assert "cannot be read" in refusal(config(tmp_path, packed(data * 99, kind)[:-9], f"interactions.csv.{kind}"))


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    assert "a tar archive, not text; unpack it" in refusal(config(tmp_path, out.getvalue()))
    assert "a tar archive" in refusal(config(tmp_path, gzip.compress(out.getvalue())))
    several = io.BytesIO()
    with zipfile.ZipFile(several, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    assert "holds 2 files (a.csv, b.csv), not one" in refusal(config(tmp_path, several.getvalue()))
    with zipfile.ZipFile(several, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
    assert "an Excel workbook" in refusal(config(tmp_path, several.getvalue()))
    assert "a Parquet file, not text" in refusal(config(tmp_path, b"PAR1xxxx"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    data = "user,item,text\nü1,i1,ä\n".encode(encoding)
    assert rows(config(tmp_path, data)) == [("ü1", "i1", "ä")]
    assert rows(config(tmp_path, data, encoding="cp1252")) == [("ü1", "i1", "ä")]


def test_encodings_are_named_or_asked_for(tmp_path: Path) -> None:
    table = "user,item,text\nu1,i1,ä\n"
    bare = config(tmp_path, table.encode("utf-16-le"))
    assert "seems to be UTF-16, not UTF-8; save it as UTF-8, or set ingest.encoding to 'utf-16-le'" in refusal(bare)
    assert rows(bare.model_copy(update={"encoding": "utf-16-le"})) == [("u1", "i1", "ä")]
    latin = config(tmp_path, table.encode("cp1252"))
    assert 'row 1, column \'text\': the text is not UTF-8; save the file as UTF-8, or name its encoding, such as "cp1252"' in refusal(latin)  # fmt: skip  # noqa: E501
    assert rows(latin.model_copy(update={"encoding": "cp1252"})) == [("u1", "i1", "ä")]
    assert "the text is not ascii somewhere after line 1" in refusal(latin.model_copy(update={"encoding": "ascii"}))
    with pytest.raises(ValueError, match="'klingon' is no encoding of text"):
        config(tmp_path, encoding="klingon")


def test_a_wrong_name_of_an_encoding_that_takes_anything_is_told(tmp_path: Path) -> None:
    table = "user,item,text\nu1,i1,ä\n"
    [told] = check(config(tmp_path, table.encode(), encoding="latin-1")).warnings
    assert "the text is read as latin-1, though all of it could be UTF-8" in told
    for data, encoding in ((table.encode("latin-1"), "latin-1"), (TABLE, "latin-1"), (table.encode(), "utf8")):
        assert check(config(tmp_path, data, encoding=encoding)).warnings == []


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    data = b"user,item,text\nu1,i1,a\nu2,i2,b\n"
    assert rows(config(tmp_path, data, "orders [final].csv")) == GOOD
    assert rows(config(tmp_path, interactions_file=str(tmp_path / "orders [final].csv"))) == GOOD
    assert rows(config(tmp_path, data, "b.csv", interactions_file=("b.csv", "orders*"))) == GOOD * 2
    assert rows(config(tmp_path, interactions_file=str(tmp_path / "b*.csv"))) == GOOD
    (tmp_path / "folder.csv").mkdir()
    assert "a folder, not a file" in refusal(config(tmp_path, interactions_file="folder.csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    chosen = config(tmp_path, b"user,item,text\nu1,i1,a\n")
    (tmp_path / "interactions.csv").chmod(0)
    assert "no permission to read it; change the file's permissions" in refusal(chosen)


@pytest.mark.parametrize(
    ("name", "inside"),
    [("a.zip", "b.csv"), ("a.zip", "b.jsonl"), ("a.zip", "b.csv.gz"), ("a.xlsx", ""), ("a.zip", "b.odt")],
)
def test_archives_without_another_name(tmp_path: Path, name: str, inside: str) -> None:
    lines = b'{"user": "u1", "item": "i1", "text": "a"}\n{"user": "u2", "item": "i2", "text": "b"}\n'
    content = lines if "jsonl" in inside else gzip.compress(TABLE) if "gz" in inside else TABLE
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(inside or "[Content_Types].xml", content)
    chosen = config(tmp_path, out.getvalue(), name)
    if inside in ("b.csv", "b.jsonl"):
        assert rows(chosen) == GOOD
    else:
        told = {"": "an Excel workbook", "b.csv.gz": "packed more than once", "b.odt": "unknown format"}
        assert told[inside] in refusal(chosen)


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"<!DOCTYPE html>\n", "a web page, not text; fetch the file itself"),
        (b"<?xml version='1.0'?>\n", "an XML document"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.4\n", "a PDF document"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"\x1f\x9d\x90", "packed with compress"),
        (b"\0" * 999, "the file holds zero bytes instead of text; export it anew"),
    ],
)
def test_other_things_under_the_name_of_data(tmp_path: Path, head: bytes, what: str) -> None:
    assert what in refusal(config(tmp_path, head))


def test_zeros_that_a_crash_left_at_the_end_are_a_fault(tmp_path: Path) -> None:
    chosen = config(tmp_path, TABLE + b"\0" * 999)
    assert rows(chosen) == GOOD and check(chosen).faults["row"].to_pylist() == [3]


def test_lines_of_very_old_machines(tmp_path: Path) -> None:
    assert rows(config(tmp_path, TABLE.replace(b"\n", b"\r"))) == GOOD
    lines = b'{"user": "u1", "item": "i1", "text": "a"}\r{"user": "u2", "item": "i2", "text": "b"}\r'
    assert rows(config(tmp_path, lines, "a.jsonl")) == GOOD


@pytest.mark.parametrize("before", ["\ufeff\ufeff", "sep=,\n", '"sep=,"\r\n', "\ufeffsep=,\r\n"])
def test_what_programs_write_before_the_header(tmp_path: Path, before: str) -> None:
    assert rows(config(tmp_path, before.encode() + TABLE)) == GOOD


def test_lines_above_the_header_are_suspected(tmp_path: Path) -> None:
    message = refusal(config(tmp_path, b"Export of 2020\n" + TABLE))
    assert "the file has: Export of 2020, no more; if lines stand above the header, remove them" in message


def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    (tmp_path / "b.csv").symlink_to("nowhere")
    (tmp_path / "c.csv").mkdir()
    assert "a.csv: no regular file" in refusal(config(tmp_path, interactions_file="a.csv"))
    assert "b.csv: a link to nothing" in refusal(config(tmp_path, interactions_file="b.*"))
    assert "c.csv: a folder, not a file; name the files inside it" in refusal(config(tmp_path, interactions_file="c.*"))


@pytest.mark.parametrize("operation", ["open", "exists", "is_dir", "is_file", "glob"])
def test_whatever_the_system_refuses_is_told(tmp_path: Path, operation: str) -> None:
    chosen = config(tmp_path, TABLE, interactions_file="inter*")
    with mock.patch.object(Path, operation, side_effect=PermissionError(13, "Permission denied")):
        error = check(chosen).error
    assert error and "ermission" in error and error.isprintable()


def test_an_error_is_one_line_whatever_the_names_hold(tmp_path: Path) -> None:
    content = b'"us\ner","it\x1b[31mem",text\n1,2,3\n'
    message = refusal(config(tmp_path, content, "a\nb.csv", interactions_file="a*"))
    assert message.isprintable() and r"a\nb.csv" in message and r"it\x1b[31mem" in message
