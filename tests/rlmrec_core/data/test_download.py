"""Fetching, from a server on this machine that can break off."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner

from flows.cli import app
from rlmrec_core.data import DataError, download, releases
from rlmrec_core.data.download import fetch
from rlmrec_core.data.releases import RELEASES, Release, RemoteFile

CONTENT = bytes(range(256)) * 4000


class Publisher:
    """Files by path, and after how many bytes each coming answer breaks off."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.break_after: list[int] = []
        self.asked: list[tuple[str, str | None]] = []
        self.address = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, publisher: Publisher, *arguments: object) -> None:
        self._publisher = publisher
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        publisher, span = self._publisher, self.headers["Range"]
        publisher.asked.append((self.path, span))
        content = publisher.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        begin = int(re.sub(r"\D", "", span)) if span and self.headers["If-Range"] == tag else 0
        self.send_response(416 if begin >= len(content) else 206 if begin else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = begin + publisher.break_after.pop(0) if publisher.break_after else len(content)
        self.wfile.write(content[begin:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    known = Publisher()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, known))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    known.address = f"http://127.0.0.1:{server.server_port}"
    published = {
        "plain": Release((RemoteFile(f"{known.address}/a.gz"),), "page"),
        "checked": Release((RemoteFile(f"{known.address}/a.gz", f"md5:{hashlib.md5(CONTENT).hexdigest()}"),), "page"),
        "zipped": Release((RemoteFile(f"{known.address}/z.zip"),), "page"),
        "sorted": Release(tuple(RemoteFile(f"{known.address}/{n}_{{category}}.gz") for n in "ab"), "page", "Books"),
    }
    monkeypatch.setattr(download, "RELEASES", published)
    monkeypatch.setattr(download, "wait_exponential", lambda **_: 0)
    monkeypatch.setattr(download, "_PIECE", 10_000)
    known.files["/a.gz"] = CONTENT
    yield known
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(name: str, folder: Path, category: str | None = None) -> Path:
    return fetch(name, folder, lambda *_: None, category=category)


def test_a_file_and_its_checksum_are_kept(publisher: Publisher, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    where = fetch("plain", tmp_path, lambda *step: seen.append(step))
    assert where == tmp_path / "plain"
    assert (where / "a.gz").read_bytes() == CONTENT
    assert (where / "a.gz.sha256").read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  a.gz\n"
    assert sorted(path.name for path in where.iterdir()) == ["a.gz", "a.gz.sha256"]
    assert seen[-1] == ("a.gz", len(CONTENT), len(CONTENT)) and len(seen) > 10


@pytest.mark.parametrize("name", ["plain", "checked"])
def test_what_is_there_and_whole_is_not_fetched_again(publisher: Publisher, tmp_path: Path, name: str) -> None:
    fetched(name, tmp_path)
    fetched(name, tmp_path)
    assert len(publisher.asked) == 1
    (tmp_path / name / "a.gz").write_bytes(b"altered")
    fetched(name, tmp_path)
    assert (tmp_path / name / "a.gz").read_bytes() == CONTENT


def test_a_broken_download_goes_on_where_it_was(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = [300_000, 200_000]
    fetched("checked", tmp_path)
    assert (tmp_path / "checked" / "a.gz").read_bytes() == CONTENT
    spans = [span for _, span in publisher.asked]
    assert spans[0] is None and 0 < int(spans[1][6:-1]) <= 300_000 < int(spans[2][6:-1]) <= 500_000


def test_another_run_goes_on_too(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = [100_000] * 5
    with pytest.raises(DataError, match=r"a.gz: cannot be fetched: .*; run the command again: it goes on from there"):
        fetched("plain", tmp_path)
    assert not (tmp_path / "plain" / "a.gz").exists()
    fetched("plain", tmp_path)
    assert (tmp_path / "plain" / "a.gz").read_bytes() == CONTENT
    assert int(publisher.asked[-1][1][6:-1]) > 400_000


def test_a_part_of_another_file_is_not_continued(publisher: Publisher, tmp_path: Path) -> None:
    publisher.break_after = [100_000] * 5
    with pytest.raises(DataError):
        fetched("plain", tmp_path)
    publisher.files["/a.gz"] = CONTENT[::-1]
    fetched("plain", tmp_path)
    assert (tmp_path / "plain" / "a.gz").read_bytes() == CONTENT[::-1]


def test_a_part_that_is_complete_is_fetched_anew(publisher: Publisher, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "a.gz.part").write_bytes(CONTENT)
    (folder / "a.gz.part.etag").write_text(f'"{hashlib.sha256(CONTENT).hexdigest()}"')
    fetched("plain", tmp_path)
    assert (folder / "a.gz").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/a.gz"] = b"something else"
    with pytest.raises(DataError, match=r"a.gz: the checksum is not the expected one; run the command again"):
        fetched("checked", tmp_path)
    assert not list((tmp_path / "checked").iterdir())


def test_an_archive_is_unpacked(publisher: Publisher, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("ml")
        archive.writestr("ml/ratings.csv", "userId\n")
    publisher.files["/z.zip"] = packed.getvalue()
    where = fetched("zipped", tmp_path)
    assert (where.name, (where / "ratings.csv").read_text()) == ("ml", "userId\n")


def test_categories(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files |= {f"/{name}_{category}.gz": b"x" for name in "ab" for category in ("Books", "Toys")}
    fetched("sorted", tmp_path)
    fetched("sorted", tmp_path, "Toys")
    assert [path for path, _ in publisher.asked] == ["/a_Books.gz", "/b_Books.gz", "/a_Toys.gz", "/b_Toys.gz"]
    with pytest.raises(DataError, match=r"'../x' is no category; see the names at page"):
        fetched("sorted", tmp_path, "../x")


def test_what_is_not_there(publisher: Publisher, tmp_path: Path) -> None:
    del publisher.files["/a.gz"]
    with pytest.raises(DataError, match=r"a.gz: cannot be fetched: 404"):
        fetched("plain", tmp_path)
    with pytest.raises(DataError, match=r"no release 'netflix'; choose one of plain, .*, yelp"):
        fetched("netflix", tmp_path)


def test_the_command(publisher: Publisher, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["download", "plain", "--to", str(tmp_path)])
    assert result.exit_code == 0 and f"here it is: {tmp_path / 'plain'}" in result.output
    result = CliRunner().invoke(app, ["download", "yelp"])
    assert result.exit_code == 1 and releases.YELP_STEPS.splitlines()[1] in result.output


def test_every_release_is_fetched_safely() -> None:
    files = [file for release in RELEASES.values() for file in release.files]
    assert all(file.url.startswith("https://") for file in files)
    assert all(release.category or "{" not in file.url for release in RELEASES.values() for file in release.files)
