"""The recipes of docs/raw-data.md, each on small made-up files in the form of the real ones."""

import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from rlmrec_core.config import IngestConfig
from rlmrec_core.data import ingest
from tests.rlmrec_core.data.worlds import drain

PAGE = Path(__file__).resolve().parents[3] / "docs" / "raw-data.md"
NOON = datetime(2020, 1, 31, 12)
AT_NOON = "1580472000"

FILES: dict[str, dict[str, bytes]] = {
    "MovieLens 100k": {
        "u.data": f"196\t242\t3\t{AT_NOON}\n186\t302\t3\t{AT_NOON}\n".encode(),
        "u.item": "242|Kolja (1996)|24-Jan-1997||http://x|0|1\n302|\"Misérables\" (1995)|x||y|1|0\n".encode("latin-1"),
    },
    "MovieLens 10M": {
        "ratings.dat": f"1::122::5::{AT_NOON}\n1::185::4.5::{AT_NOON}\n".encode(),
        "movies.dat": "122::Misérables, Les (1995)::Comedy|Romance\n185::Net, The (1995)::Action\n".encode(),
    },
    "RecBole": {
        "ml-1m.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t1193\t5\t1580472000.0\n",
        "ml-1m.item": b"item_id:token\tmovie_title:token_seq\tgenre:token_seq\n1193\tNet, The\tAction Crime\n",
    },
    "Book-Crossing": {
        "BX-Book-Ratings.csv": b'"User-ID";"ISBN";"Book-Rating"\r\n"276725";"034545104X";"0"\r\n'
        b'"276726";"0155061224";"5"\r\n',
        "BX-Books.csv": '"ISBN";"Book-Title";"Book-Author";"Publisher"\r\n'
        '"034545104X";"The Real \\"J. Ünger\\"; a Life";"A";"P"\r\n"0155061224";"B";"A";"P"\r\n'.encode("latin-1"),
    },
    "HetRec 2011 MovieLens": {
        "user_ratedmovies-timestamps.dat": f"userID\tmovieID\trating\ttimestamp\r\n75\t3\t1\t{AT_NOON}000\r\n".encode(),
        "movies.dat": "id\ttitle\timdbID\tyear\r\n3\t\"Café\t0114709\t1995\r\n".encode("latin-1"),
    },
    "MIND": {
        "behaviors.tsv": b"1\tU13740\t1/31/2020 12:00:00 PM\tN5 N6\tN1-0 N2-1 N3-1\n"
        b"2\tU2\t1/31/2020 12:00:00 PM\t\tN1-1\n",
        "news.tsv": b"N1\tnews\tus\tOne\tFirst.\thttps://x\t[]\t[]\nN2\tnews\tus\tTwo\t\thttps://x\t[]\t[]\n",
    },
    "Netflix": {
        "combined_data_1.txt": b"1:\n1488844,3,2020-01-31\n822109,5,2020-01-31\n2:\n885013,4,2020-01-31\n",
        "combined_data_2.txt": b"4500:\n1488844,2,2020-01-31\n",
        "movie_titles.csv": "1,2003,Dinosaur Planet\n2,2004,Isle of Man, The: Café\n4500,NULL,C\n".encode("latin-1"),
    },
    "Gowalla": {
        "loc-gowalla_totalCheckins.txt": b"0\t2020-01-31T12:00:00Z\t30.2\t-97.7\t22847\n"
        b"0\t2020-01-31T12:00:00Z\t30\t-97\t420315\n",
    },
    "Last.fm 360k": {
        "usersha1-artmbid-artname-plays.tsv": '00000c\t3bd73256\tbetty "b" blowtorch\t2137\n'
        '00000c\t\tdie Ärzte\t1099\n'.encode(),
    },
    "RetailRocket": {
        "events.csv": f"timestamp,visitorid,event,itemid,transactionid\n{AT_NOON}000,257597,view,355908,\n"
        f"{AT_NOON}000,257597,transaction,355908,7\n".encode(),
    },
}  # fmt: skip

EXPECTED = {
    "MovieLens 100k": [("196", "242", 3.0, NOON), ("186", "302", 3.0, NOON)],
    "MovieLens 10M": [("1", "122", 5.0, NOON), ("1", "185", 4.5, NOON)],
    "RecBole": [("1", "1193", 5.0, NOON)],
    "Book-Crossing": [("276725", "034545104X", None, None), ("276726", "0155061224", 5.0, None)],
    "HetRec 2011 MovieLens": [("75", "3", 1.0, NOON)],
    "MIND": [("U13740", "N2", None, NOON), ("U13740", "N3", None, NOON), ("U2", "N1", None, NOON)],
    "Netflix": [
        ("1488844", "1", 3.0, datetime(2020, 1, 31)),
        ("822109", "1", 5.0, datetime(2020, 1, 31)),
        ("885013", "2", 4.0, datetime(2020, 1, 31)),
        ("1488844", "4500", 2.0, datetime(2020, 1, 31)),
    ],
    "Gowalla": [("0", "22847", None, NOON), ("0", "420315", None, NOON)],
    "Last.fm 360k": [("00000c", 'betty "b" blowtorch', 2137.0, None), ("00000c", "die Ärzte", 1099.0, None)],
    "RetailRocket": [("257597", "355908", 1.0, NOON), ("257597", "355908", 5.0, NOON)],
}
TITLES = {
    "MovieLens 100k": ["Kolja (1996)", '"Misérables" (1995)'],
    "MovieLens 10M": ["Misérables, Les (1995)", "Net, The (1995)"],
    "RecBole": ["Net, The"],
    "Book-Crossing": ['The Real "J. Ünger"; a Life', "B"],
    "HetRec 2011 MovieLens": ['"Café'],
    "MIND": ["One", "Two"],
    "Netflix": ["Dinosaur Planet", "Isle of Man, The: Café", "C"],
}


def recipes() -> dict[str, str]:
    """Every recipe of the page under the beginning of the line before it."""
    before = PAGE.read_text(encoding="utf-8").split("## Recipes")[1].split("\n## ")[0].split("```toml\n")
    names = [part.strip().rsplit("\n", 1)[-1].split(":")[0] for part in before[:-1]]
    return dict(zip(names, (part.split("```")[0] for part in before[1:]), strict=True))


def test_every_recipe_is_tested() -> None:
    assert list(recipes()) == list(FILES) == list(EXPECTED)


@pytest.mark.parametrize("name", FILES)
def test_a_recipe(tmp_path: Path, name: str) -> None:
    recipe = recipes()[name]
    assert len(recipe.splitlines()) <= 15
    for file, content in FILES[name].items():
        (tmp_path / file).write_bytes(content)
    settings = tomllib.loads(recipe)["ingest"] | {"path": str(tmp_path)}
    tables = drain(ingest(IngestConfig(reader="tabular", strict=True, **settings)).tables)
    read = tables["interactions"].select(["user_id", "item_id", "rating", "timestamp"]).to_pylist()
    assert [tuple(row.values()) for row in read] == EXPECTED[name]
    assert tables["items"]["title"].to_pylist() == TITLES.get(name, [])
