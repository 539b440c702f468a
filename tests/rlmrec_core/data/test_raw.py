"""The raw releases: what is read from them, and what happens to lines that cannot be."""

import bz2
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlmrec_core.config import IngestConfig
from rlmrec_core.config.data import RawName
from rlmrec_core.data import DataError, Ingested, check, files, ingest, lines, open_reader
from rlmrec_core.data.texts import MAX_CHARS
from tests.rlmrec_core.data.releases import FILES, ITEMS, REVIEWS, put, python_literal, written
from tests.rlmrec_core.data.worlds import drain

EVERY_RELEASE = pytest.mark.parametrize("release", get_args(RawName))
EVERY_NOTATION = pytest.mark.parametrize("notation", [json.dumps, python_literal])


def opened(folder: Path, release: RawName, **settings: Any) -> Ingested:
    return ingest(IngestConfig(reader=release, path=str(folder), **settings))


def read(folder: Path, release: RawName = "amazon-2014", **settings: Any) -> dict[str, pa.Table]:
    return drain(opened(folder, release, **settings).tables)


def release_in(folder: Path, release: RawName, notation: Callable[[Any], str] = json.dumps) -> Path:
    for name, row in zip(FILES[release], (REVIEWS[release], ITEMS[release]), strict=True):
        put(folder, name, written([row], notation))
    return folder


def amazon(folder: Path, content: bytes, name: str = "reviews_Books.json.gz") -> Path:
    return put(folder, name, content)


@EVERY_RELEASE
@EVERY_NOTATION
def test_every_release_in_either_notation(tmp_path: Path, release: RawName, notation: Callable[[Any], str]) -> None:
    tables = read(release_in(tmp_path, release, notation), release)
    [row] = tables["interactions"].to_pylist()
    assert row == {
        **{"user_id": "A1", "item_id": "000X", "rating": None if release == "steam" else 5.0},
        **{"timestamp": datetime(2010, 1, 2), "review": "Don't miss it", "part": None},
    }
    [item] = tables["items"].to_pylist()
    assert (item["item_id"], item["title"]) == ("000X", "It's")
    assert item["description"] == (None if release in ("yelp", "steam") else "A “book”")


@pytest.mark.parametrize(
    ("release", "attributes"),
    [
        ("amazon-2014", {"brand": "B", "categories": "Books, Crime"}),
        ("amazon-2018", {"brand": "B", "categories": "Books, Crime"}),
        ("amazon-2023", {"author": "N", "store": "B", "categories": "Books, Crime", "features": "F"}),
        ("yelp", {"categories": "Bars, Cafés", "city": "Reno", "state": "NV"}),
        ("steam", {"genres": "Action, Indie", "tags": "Action, Gore", "specs": "Single-player", "publisher": "P"}),
        ("goodreads", {"year": "1999", "shelves": "crime, noir"}),
    ],
)
def test_attributes(tmp_path: Path, release: RawName, attributes: dict[str, str]) -> None:
    [item] = read(release_in(tmp_path, release), release)["items"].to_pylist()
    assert {pair["name"]: pair["value"] for pair in item["attributes"]} == attributes


@EVERY_RELEASE
def test_sources_are_the_files(tmp_path: Path, release: RawName) -> None:
    folder = release_in(tmp_path, release)
    (folder / "README.md").write_text("not data")
    sources = open_reader(IngestConfig(reader=release, path=str(folder))).sources()
    assert [source.name for source in sources] == list(FILES[release])


@pytest.mark.parametrize(("name", "mode"), [("yelp_dataset.tar", "w"), ("yelp_dataset-2.tgz", "w:gz")])
def test_yelp_inside_its_archive(tmp_path: Path, name: str, mode: str) -> None:
    with tarfile.open(tmp_path / name, mode) as archive:
        for member, row in zip(FILES["yelp"], (REVIEWS["yelp"], ITEMS["yelp"]), strict=True):
            content = written([row])
            entry = tarfile.TarInfo(f"./{member}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    (tmp_path / "yelp_dataset.txt").write_text("terms of use")
    tables = read(tmp_path, "yelp")
    assert [tables[name].num_rows for name in ("interactions", "items")] == [1, 1]
    assert [path.name for path in open_reader(IngestConfig(reader="yelp", path=str(tmp_path))).sources()] == [name]


def test_goodreads_zero_is_no_rating(tmp_path: Path) -> None:
    put(tmp_path, "goodreads_reviews.json", written([REVIEWS["goodreads"] | {"rating": 0}]))
    assert read(tmp_path, "goodreads")["interactions"]["rating"].to_pylist() == [None]


def test_numbers_in_quotes_and_ids_without(tmp_path: Path) -> None:
    row = {"reviewerID": 7, "asin": "x", "overall": "4.5", "unixReviewTime": "86400", "reviewText": "  "}
    [read_row] = read(amazon(tmp_path, written([row])))["interactions"].to_pylist()
    assert (read_row["user_id"], read_row["rating"], read_row["review"]) == ("7", 4.5, None)
    assert read_row["timestamp"] == datetime(1970, 1, 2)


def test_nan_is_missing_and_endless_texts_are_cut_and_both_are_counted(tmp_path: Path) -> None:
    line = b'{"reviewerID": "u", "asin": "i", "overall": NaN, "unixReviewTime": NaN, "reviewText": NaN}'
    long = json.dumps({"reviewerID": "u", "asin": "i", "reviewText": "w " * MAX_CHARS}).encode()
    ingested = opened(amazon(tmp_path, line + b"\n" + long), "amazon-2014")
    row, other = drain(ingested.tables)["interactions"].to_pylist()
    assert (row["rating"], row["timestamp"], row["review"]) == (None, None, None)
    assert len(other["review"]) == MAX_CHARS - 1
    counts = {row["name"]: row["value"] for row in ingested.report().to_pylist()}
    assert counts["NaN read as missing"] == counts["texts of more than 30,000 characters, cut"] == 1


def test_ids_keep_every_digit_and_lose_blanks(tmp_path: Path) -> None:
    ids = [f"1000000000000000000000{digit}" for digit in range(3)]
    rows = "".join(f'{{"reviewerID": {user}, "asin": " i\\t"}}\n' for user in ids) + '{"reviewerID": "x", "asin": "i"}'
    table = read(amazon(tmp_path, rows.encode()))["interactions"]
    assert table["user_id"].to_pylist() == [*ids, "x"]
    assert set(table["item_id"].to_pylist()) == {"i"}
    amazon(tmp_path, b'{"asin": 10000000000000000000001}\n{"asin": " i "}', "meta_Books.json")
    assert read(tmp_path)["items"]["item_id"].to_pylist() == ["10000000000000000000001", "i"]


def test_json_is_read_as_json_beside_python(tmp_path: Path) -> None:
    rows = [{"reviewerID": "u", "asin": "a/b", "reviewText": "Holistic/Naturopathic"}] * 2
    for order in (1, -1):
        lines = [repr(rows[0]), json.dumps(rows[1]).replace("/", "\\/")][::order]
        table = read(amazon(tmp_path, "\n".join(lines).encode()))["interactions"]
        assert table.group_by(["item_id", "review"]).aggregate([]).num_rows == 1


def test_a_broken_character_is_a_fault_wherever_it_stands(tmp_path: Path) -> None:
    good = written([REVIEWS["amazon-2014"]])
    ingested = opened(amazon(tmp_path, good + b'{"reviewerID": "u", "asin": "i", "z": "\xff"}\n' + good), "amazon-2014")
    assert drain(ingested.tables)["interactions"].num_rows == 2
    assert ingested.malformed()["line"].to_pylist() == [2]


def test_a_torn_surrogate_pair_is_mended(tmp_path: Path) -> None:
    line = rb'{"reviewerID": "u", "asin": "i", "reviewText": "\ud83d\ude00 \ud83d"}'
    assert read(amazon(tmp_path, line))["interactions"]["review"].to_pylist() == ["😀 \ufffd"]


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_no_faults(tmp_path: Path) -> None:
    line = b'{"reviewerID": "u", "asin": "i"}'
    ingested = opened(amazon(tmp_path, b"\xef\xbb\xbf" + line + b"\r\n\r\n\n" + line), "amazon-2014")
    assert drain(ingested.tables)["interactions"].num_rows == 2
    assert ingested.malformed().num_rows == 0


BAD_LINES = {
    b"[1, 2]": "neither a JSON object nor a Python dictionary",
    b"{'reviewerID': 'u', 'asin': open('x')}": "neither a JSON object nor a Python dictionary",
    b"{'reviewerID': 'u', 'asin': 'i'": "neither a JSON object nor a Python dictionary",
    b'{"reviewerID": "\xff", "asin": "i"}': "neither a JSON object nor a Python dictionary",
    b"[" * 100_000: "neither a JSON object nor a Python dictionary",
    b"{[]: 1}": "neither a JSON object nor a Python dictionary",
    b'{"asin": "i"}': "reviewerID is missing",
    b'{"reviewerID": "u", "asin": ""}': "asin is missing",
    b'{"reviewerID": "u", "asin": ["i"]}': "asin is a list",
    b'{"reviewerID": true, "asin": "i"}': "reviewerID is a bool",
    b'{"reviewerID": 1.5, "asin": "i"}': "reviewerID is a float",
    b'{"reviewerID": 1e16, "asin": "i"}': "reviewerID is a number that has lost digits",
    b'{"reviewerID": "u", "asin": "i", "asin": "j"}': "the key 'asin' stands there twice",
    b"{'reviewerID': 'u', 'reviewerID': 'v', 'asin': 'i'}": "the key 'reviewerID' stands there twice",
    b'{"reviewerID": "u", "asin": "i", "overall": "five"}': "overall is not a number",
    b'{"reviewerID": "u", "asin": "i", "overall": Infinity}': "overall is not a finite number",
    b'{"reviewerID": "u", "asin": "i", "unixReviewTime": 1e18}': "unixReviewTime is not a time",
}


@pytest.mark.parametrize(("line", "problem"), BAD_LINES.items(), ids=range(len(BAD_LINES)))
def test_a_bad_line_is_skipped_counted_and_shown(tmp_path: Path, line: bytes, problem: str) -> None:
    good = written([REVIEWS["amazon-2014"]])
    ingested = opened(amazon(tmp_path, good + line + b"\n" + good), "amazon-2014")
    assert drain(ingested.tables)["interactions"].num_rows == 2
    [fault] = ingested.malformed().to_pylist()
    file = str(tmp_path / "reviews_Books.json.gz")
    assert (fault["file"], fault["line"], fault["problem"]) == (file, 2, problem)
    assert fault["text"].encode().startswith(line[:10].replace(b"\xff", b"\\xff"))
    assert {row["name"]: row["value"] for row in ingested.report().to_pylist()}[f"malformed lines in {file}"] == 1


def test_ids_that_went_through_floats_are_whole_again(tmp_path: Path) -> None:
    lines = b'{"reviewerID": 7.0, "asin": "12.0"}\n{"reviewerID": "7", "asin": 12}\n'
    amazon(tmp_path, lines)
    amazon(tmp_path, b'{"asin": 12.0, "title": "A"}\n{"asin": "12.50", "title": "B"}\n', "meta_Books.json")
    ingested = opened(tmp_path, "amazon-2014")
    tables = drain(ingested.tables)
    assert tables["interactions"]["user_id"].to_pylist() == ["7", "7"]
    assert tables["interactions"]["item_id"].to_pylist() == ["12", "12"]
    assert tables["items"]["item_id"].to_pylist() == ["12", "12.50"]
    report = {row["name"]: row["value"] for row in ingested.report().to_pylist()}
    assert report["ids like 1.0 read as 1 in 'reviewerID'"] == 1 and report["ids like 1.0 read as 1 in 'asin'"] == 2


def test_what_is_odd_about_items_is_counted(tmp_path: Path) -> None:
    amazon(tmp_path, written([REVIEWS["amazon-2014"]]))
    items = ['{"asin": "a", "title": NaN}', '{"asin": "b", "title": "T", "asin": "c"}']
    items += [json.dumps({"asin": "d", "description": ["x" * 40_000, "NaN"]}), '{"asin": "e", "price": NaN}']
    amazon(tmp_path, "\n".join(items).encode(), "meta_Books.json")
    ingested = opened(tmp_path, "amazon-2014")
    assert drain(ingested.tables)["items"]["item_id"].to_pylist() == ["a", "d", "e"]
    [fault] = ingested.malformed().to_pylist()
    assert fault["problem"] == "the key 'asin' stands there twice"
    report = {row["name"]: row["value"] for row in ingested.report().to_pylist()}
    assert report["NaN read as missing"] == 1 and report["texts of more than 30,000 characters, cut"] == 1


def test_too_many_bad_lines_are_an_error(tmp_path: Path) -> None:
    amazon(tmp_path, written([REVIEWS["amazon-2014"]]) + b"?\n" * 3)
    assert read(tmp_path, max_malformed=3, max_malformed_share=0.75)["interactions"].num_rows == 1
    with pytest.raises(DataError, match=r"3 of the file's 4 lines \(75%\) are malformed; .*max_malformed_share"):
        read(tmp_path, max_malformed=3)
    with pytest.raises(DataError, match=r"json.gz, row 4: neither .*, 3 lines .* malformed; .* more than 2 \(ingest\."):
        read(tmp_path, max_malformed=2)


def test_reading_again_counts_again(tmp_path: Path) -> None:
    amazon(tmp_path, written([REVIEWS["amazon-2014"]]) + b"?\n")
    reader = open_reader(IngestConfig(reader="amazon-2014", path=str(tmp_path)))
    assert [[batch.num_rows for batch in reader.interactions()] for _ in range(2)] == [[1], [1]]
    assert list(reader.malformed.counts.values()) == [1]


def test_an_item_listed_again_is_left_out(tmp_path: Path) -> None:
    amazon(tmp_path, written([REVIEWS["amazon-2014"]]))
    amazon(tmp_path, written([ITEMS["amazon-2014"], ITEMS["amazon-2014"] | {"title": "Other"}]), "meta_Books.json")
    ingested = opened(tmp_path, "amazon-2014")
    assert drain(ingested.tables)["items"]["title"].to_pylist() == ["It's"]
    assert {row["name"]: row["value"] for row in ingested.report().to_pylist()}["items listed again"] == 1


def test_named_files_and_several_of_them(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        amazon(tmp_path, written([REVIEWS["amazon-2014"] | {"reviewerID": name}]), name)
    assert read(tmp_path, interactions_file="?.json")["interactions"]["user_id"].to_pylist() == ["a.json", "b.json"]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("amazon-2014", "Musical_Instruments_5.json"),
        ("amazon-2014", "kindle_reviews.json.gz"),
        ("amazon-2018", "music.json"),
        ("amazon-2023", "magazines.jsonl"),
    ],
)
def test_names_under_which_the_files_are_copied(tmp_path: Path, release: RawName, name: str) -> None:
    put(tmp_path, name, written([REVIEWS[release]]))
    put(tmp_path, f"meta_{name}", written([ITEMS[release]]))
    tables = read(tmp_path, release)
    assert [tables[name].num_rows for name in ("interactions", "items")] == [1, 1]


def _zipped(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("anything.json", content)
    return packed.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
    ".zip": _zipped,
    "": _zipped,
}


@pytest.mark.parametrize(("suffix", "pack"), PACKED.items(), ids=range(len(PACKED)))
def test_packed_files_are_unpacked_whatever_their_name(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    content = written([REVIEWS["amazon-2014"] | {"reviewerID": str(user)} for user in range(50)])
    (tmp_path / f"reviews_Books.json{suffix}").write_bytes(pack(content))
    assert read(tmp_path)["interactions"]["user_id"].to_pylist() == [str(user) for user in range(50)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_or_named(tmp_path: Path, encoding: str) -> None:
    content = "".join(written([REVIEWS["amazon-2014"]]).decode() for _ in range(11))
    (tmp_path / "reviews_Books.json").write_bytes(content.encode(encoding))
    assert read(tmp_path, encoding=encoding)["interactions"].num_rows == 11
    if encoding == "utf-16":  # A byte order mark tells it.
        assert read(tmp_path)["interactions"].num_rows == 11
    else:
        with pytest.raises(DataError, match=r"reviews_Books.json: the text seems to be UTF-16"):
            read(tmp_path)


def test_an_archive_under_the_name_of_data_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "reviews_Books.json", "w") as archive:
        archive.add(Path(__file__), "reviews_Books.json")
    with pytest.raises(DataError, match=r"reviews_Books.json: a tar archive, not text; unpack it"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"[{}, {}]", b"[\n{},\n{}]", b'{\n "asin": 1\n}'])
def test_json_over_a_whole_file_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"json.gz: (one JSON array|a JSON object over several lines).* jq -c "):
        read(amazon(tmp_path, content))


def test_no_usable_line_says_why(tmp_path: Path) -> None:
    amazon(tmp_path, written([{"user": "u"}] * 5))
    with pytest.raises(DataError, match=r"no usable line; of 5 none .* \(line 1: reviewerID is missing; line 2: "):
        read(tmp_path)


def test_a_file_that_is_mostly_unreadable_fails(tmp_path: Path) -> None:
    amazon(tmp_path, written([REVIEWS["amazon-2014"]]) * 3 + b"?\n" * 4)
    with pytest.raises(
        DataError, match=r"row 4: .*4 of the file's 7 lines \(57%\) are malformed; .*max_malformed_share"
    ):
        read(tmp_path)
    assert read(tmp_path, max_malformed_share=0.6)["interactions"].num_rows == 3


def test_what_steam_users_own(tmp_path: Path) -> None:
    owned = [{"item_id": "10", "playtime_forever": 6}, {"item_id": 20}, {"item_name": "no id"}, "no object"]
    lines = [{"user_id": "u", "items": owned}, {"user_id": "v", "items": []}, {"user_id": "w"}, {"items": []}]
    put(tmp_path, "australian_users_items.json.gz", written(lines, python_literal))
    ingested = opened(tmp_path, "steam", max_malformed_share=1)
    rows = drain(ingested.tables)["interactions"].to_pylist()
    assert [(row["user_id"], row["item_id"], row["rating"]) for row in rows] == [("u", "10", None), ("u", "20", None)]
    assert [(row["line"], row["problem"]) for row in ingested.malformed().to_pylist()] == [
        *[(1, "item_id is missing")] * 2,
        *[(3, "items is missing"), (4, "user_id is missing")],
    ]


def test_no_file_the_wrong_file_and_the_same_twice(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"'amazon-2014' finds no file reviews_\*.json or .*; .* ingest.interactions_file"
    ):
        read(tmp_path)
    amazon(tmp_path, b"")
    with pytest.raises(DataError, match=r"reviews_Books.json.gz: the file holds no usable line"):
        read(tmp_path)
    amazon(tmp_path, b"", "reviews_Books.json")
    with pytest.raises(DataError, match=r"reviews_Books.json: the file is there twice, plain and packed; remove one"):
        read(tmp_path)


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_a_truncated_gzip_file_says_so(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(written([REVIEWS["amazon-2014"] | {"reviewerID": str(i)} for i in range(5000)]))
    (tmp_path / "reviews_Books.json.gz").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"reviews_Books.json.gz: the file cannot be read: it ends too early"):
        read(tmp_path)


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(written([REVIEWS["amazon-2014"]])))
    whole[-8:-4] = b"\0\0\0\0"
    (tmp_path / "reviews_Books.json.gz").write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"reviews_Books.json.gz: the file cannot be read"):
        read(tmp_path)


def test_blocks_are_whole_lines_with_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 10)
    content = b"".join(b"%d:%s\n" % (n, b"x" * (n % 7)) for n in range(1, 60))
    (tmp_path / "a").write_bytes(content)
    blocks = list(lines.read_blocks(lines.LineFile(tmp_path / "a")))
    assert len(blocks) > 10 and b"".join(block.data for block in blocks) == content
    assert all(int(line.split(b":")[0]) == number for block in blocks for number, line in block.lines())


def test_one_endless_line_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 100)
    monkeypatch.setattr(files, "BLOCK_BYTES", 10)
    amazon(tmp_path, b"{}\n" + b"x" * 1000)
    with pytest.raises(DataError, match=r"row 2: a line of more than"):
        read(tmp_path)


FRAGMENTS = [b"{", b"}", b"[", b"]", b'"', b"'", b"\\", b":", b",", b"u'", b"null", b"None", b"True", b"1e999", b"NaN"]
FRAGMENTS += [b"\n", b"\r", b" ", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\\x4", b"\\ud83d", b"-", b"7", b'"a"', b"b'"]


def mutated(release: RawName) -> st.SearchStrategy[bytes]:
    """Lines of the release, whole, cut, with something in them, and lines of anything."""
    good = [written([row], form) for row in (REVIEWS[release], ITEMS[release]) for form in (json.dumps, python_literal)]
    names = st.sampled_from([*REVIEWS[release], *ITEMS[release], "x"])
    values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    values |= st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=2), values, max_size=2)
    rows = st.dictionaries(names, values, max_size=5)
    noise = st.binary(max_size=30) | st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(b"".join)
    spliced = st.builds(
        lambda line, at, size, new: line[:at] + new + line[at + size :],
        *(st.sampled_from(good), st.integers(0, 300), st.integers(0, 5), noise),
    )
    printed = st.builds(lambda row, form: written([row], form), rows, st.sampled_from([json.dumps, python_literal]))
    return st.lists(st.sampled_from(good) | spliced | noise | printed, max_size=5).map(b"\n".join)


@EVERY_RELEASE
def test_whatever_the_lines_are_only_a_data_error_comes_out(
    tmp_path_factory: pytest.TempPathFactory, release: RawName
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    names = [name.removesuffix(".gz") for name in FILES[release]]

    @settings(max_examples=60, deadline=None)
    @given(mutated(release), mutated(release))
    @example(b"null", b"null")
    @example(b"{}null\n\n{}", b"{}{}\n")
    @example(b"{}", b"{'x': " * 2000)
    @example(b"'" * 999, b"\\" * 999)
    def comes_out(reviews: bytes, items: bytes) -> None:
        for name, content in zip(names, (reviews, items), strict=True):
            put(folder, name, content)
        with suppress(DataError):
            read(folder, release, max_malformed=3)

    comes_out()


@EVERY_RELEASE
def test_every_line_is_read_or_told(tmp_path_factory: pytest.TempPathFactory, release: RawName) -> None:
    """Interactions and items read, listed again or told are as many as the lines that hold anything."""
    folder = tmp_path_factory.mktemp("fuzz")
    names = [name.removesuffix(".gz") for name in FILES[release]]
    chosen = IngestConfig(reader=release, path=str(folder), max_malformed=10**6, max_malformed_share=1.0)

    @settings(max_examples=40, deadline=None)
    @given(mutated(release), mutated(release))
    @example(b"{}{}\n\n{}", written([ITEMS[release]] * 3))
    @example(written([REVIEWS[release]]) + b"?\n \r\n" + written([REVIEWS[release]], python_literal), b"{}\n\n[1]")
    def told(reviews: bytes, items: bytes) -> None:
        for name, content in zip(names, (reviews, items), strict=True):
            put(folder, name, content)
        checked = check(chosen)
        counts = {row["name"]: row["value"] for row in checked.report.to_pylist()}
        for table, name, content in zip(("interactions", "items"), names, (reviews, items), strict=True):
            faults = [fault for fault in checked.faults.to_pylist() if fault["file"] == str(folder / name)]
            if any(not fault["line"] for fault in faults) or len(content) > files.BLOCK_BYTES:
                continue  # The whole file is refused: it is no text, or holds nothing.
            text = re.sub(b"^(?:\xef\xbb\xbf)*", b"", content)
            n_lines = sum(bool(line.strip()) for line in text.split(b"\n" if b"\n" in text else b"\r"))
            again = counts["items listed again"] if table == "items" else 0
            assert counts[table] + again + counts.get(f"malformed lines in {folder / name}", 0) == n_lines

    told()
