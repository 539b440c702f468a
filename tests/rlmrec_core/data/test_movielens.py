"""MovieLens, from a few written lines and from the real files."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import DataError, check, ingest, open_reader
from tests.rlmrec_core.data.worlds import drain

FILES = {
    "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,0\n2,10,5.0,1\n2,20,2.5,2\n",
    "movies.csv": 'movieId,title,genres\n10,"Matrix, The (1999)",Action|Sci-Fi\n20,Untitled,(no genres listed)\n',
    "tags.csv": "userId,movieId,tag,timestamp\n2,10,mind bending,5\n2,10,classic,6\n3,10,unseen,7\n",
    "links.csv": "movieId,imdbId,tmdbId\n10,1,603\n20,2,\n",
    "overviews.csv": "tmdbId,overview,keywords\n603,A hacker learns the truth.,hacker|simulation\n",
}


def folder(path: Path, **changed: str | None) -> Path:
    for name, content in {**FILES, **{f"{stem}.csv": text for stem, text in changed.items()}}.items():
        if content is not None:
            (path / name).write_text(content)
    return path


def read(path: Path) -> dict[str, pa.Table]:
    return drain(ingest(IngestConfig(reader="movielens", path=str(path))).tables)


def test_a_users_tags_are_the_review_of_that_interaction_only(tmp_path: Path) -> None:
    rows = read(folder(tmp_path))["interactions"].to_pylist()
    assert [(row["user_id"], row["item_id"], row["review"]) for row in rows] == [
        ("1", "10", None),
        ("2", "10", "mind bending, classic"),
        ("2", "20", None),
    ]
    assert rows[2]["rating"] == 2.5 and rows[2]["timestamp"] == datetime(1970, 1, 1, 0, 0, 2)


def test_movies_have_year_genres_keywords_and_plot_where_known(tmp_path: Path) -> None:
    matrix, untitled = read(folder(tmp_path))["items"].to_pylist()
    assert matrix["title"] == "Matrix, The" and matrix["description"] == "A hacker learns the truth."
    assert {pair["name"]: pair["value"] for pair in matrix["attributes"]} == {
        "year": "1999",
        "genres": "Action, Sci-Fi",
        "keywords": "hacker, simulation",
    }
    assert untitled == {"item_id": "20", "title": "Untitled", "description": None, "attributes": None}


@pytest.mark.parametrize("written", ["603.0", "603", " 603 "])
def test_whole_numbers_with_a_fraction_find_their_overview(tmp_path: Path, written: str) -> None:
    links = f"movieId,imdbId,tmdbId\n10,1,{written}\n20,2,\n30,3,604.0\n"
    overviews = "tmdbId,overview,keywords\n603,Plot.,\n605,Of none.,\n"
    ingested = ingest(IngestConfig(reader="movielens", path=str(folder(tmp_path, links=links, overviews=overviews))))
    assert drain(ingested.tables)["items"]["description"].to_pylist() == ["Plot.", None]
    report = {row["name"]: row["value"] for row in ingested.report().to_pylist()}
    assert (report["overviews of no movie"], report["movies without an overview"]) == (1, 1)


def test_tags_and_overviews_may_be_absent(tmp_path: Path) -> None:
    config = IngestConfig(reader="movielens", path=str(folder(tmp_path, tags=None, overviews=None, links=None)))
    tables = drain(ingest(config).tables)
    assert tables["interactions"]["review"].null_count == 3 and tables["items"]["description"].null_count == 2
    assert [source.name for source in open_reader(config).sources()] == ["ratings.csv", "movies.csv"]


def test_what_was_left_out_is_counted(tmp_path: Path) -> None:
    ingested = ingest(IngestConfig(reader="movielens", path=str(folder(tmp_path))))
    drain(ingested.tables)
    report = {row["name"]: row["value"] for row in ingested.report().to_pylist()}
    assert report["interactions"] == 3 and report["tagged movies their user did not rate"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ratings": None}, r"ratings.csv: no such file"),
        ({"links": None}, r"links.csv: no such file"),
        ({"movies": "movieId,name\n10,A\n"}, r"movies.csv, column 'title': the column is missing"),
    ],
)
def test_bad_folders(tmp_path: Path, changed: dict[str, str | None], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(folder(tmp_path, **changed))


def test_all_that_is_wrong_with_a_copy_is_told_and_the_rest_read(tmp_path: Path) -> None:
    rows = {
        "ratings": "3,99,4,0\n,10,4,0\n4,10,good,0\n5.0, 10 ,3,0\n",
        "movies": "10,Again,x\n,None,x\n",
        "tags": ",10,lost,5\n",
        "overviews": ",of nothing,\n",
    }
    changed = {name: FILES[f"{name}.csv"] + more for name, more in rows.items()}
    config = IngestConfig(reader="movielens", path=str(folder(tmp_path, **changed)), max_malformed_share=0.5)
    checked = check(config)
    told = {(Path(fault["file"]).stem, fault["row"], fault["problem"]) for fault in checked.faults.to_pylist()}
    assert told == {
        ("ratings", 5, "the id is missing"),
        ("ratings", 6, "'good' is not a number"),
        ("movies", 3, "item '10' occurs twice"),
        ("movies", 4, "the id is missing"),
        ("tags", 4, "the id is missing"),
        ("overviews", 2, "the id is missing"),
    }
    report = {row["name"]: row["value"] for row in checked.report.to_pylist()}
    assert report["interactions with an item that the items table lacks"] == 1
    assert report["interactions"] == 5 and report["items"] == 2 and checked.usable
    assert drain(ingest(config).tables)["interactions"]["user_id"].to_pylist()[-1] == "5"
    assert check(config.model_copy(update={"strict": True})).error


def test_the_real_files(shared_data: Path) -> None:
    tables = read(shared_data / "movielens-small")
    assert tables["interactions"].num_rows == 100_836 and tables["items"].num_rows == 9_742
    assert tables["items"].num_rows - tables["items"]["description"].null_count > 3_000
    assert tables["interactions"].num_rows - tables["interactions"]["review"].null_count > 1_000


def one_million(folder: Path, ratings: str = "1::2::4::978300760\n2::1::5::978302109\n") -> Path:
    (folder / "ratings.dat").write_text(ratings)
    movies = '1::Toy Story (1995)::Animation|Comedy\n2::Misérables, Les: "A" (1995)::Drama\n'
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text("1::F::1::10::48067\n")
    return folder


def test_the_release_of_one_million(tmp_path: Path) -> None:
    tables = drain(ingest(IngestConfig(reader="movielens", path=str(one_million(tmp_path)))).tables)
    [first, _] = tables["interactions"].to_pylist()
    assert first == {
        **{"user_id": "1", "item_id": "2", "rating": 4.0, "timestamp": datetime(2000, 12, 31, 22, 12, 40)},
        **{"review": None, "part": None},
    }
    [_, second] = tables["items"].to_pylist()
    assert second["title"] == 'Misérables, Les: "A"'
    assert [pair["value"] for pair in second["attributes"]] == ["1995", "Drama"]
    reader = open_reader(IngestConfig(reader="movielens", path=str(tmp_path)))
    assert [file.name for file in reader.sources()] == ["ratings.dat", "movies.dat"]


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ("1::2::4::1\n1::2::4\n", r"ratings.dat, row 2: 3 columns where there should be 4: '1.*2.*4'"),
        ("1::2::4::1\n1::1::good::1\n", r"ratings.dat, row 2, column 'rating': 'good' is not a number"),
    ],
)
def test_bad_rows_of_one_million(tmp_path: Path, ratings: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        drain(ingest(IngestConfig(reader="movielens", path=str(one_million(tmp_path, ratings)), strict=True)).tables)
