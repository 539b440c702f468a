"""Raw releases fetched from their publishers: resumed where a download broke off, and checked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pooch
import requests
import urllib3
from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.releases import RELEASES, YELP_STEPS, RemoteFile

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes that are there, and their number when complete, if it is known."""

_PIECE = 1 << 20
_TIMEOUT = (15, 60)
"""Seconds to connect, and without a byte."""
_ATTEMPTS = 5


def fetch(name: str, folder: Path, progress: Progress, *, category: str | None = None) -> Path:
    """Fetch the release into a folder of its own in `folder`, and return where its tables are.

    What is there and has the right checksum is not fetched again. Raises DataError on an unknown name, a download that
    fails, and a checksum that differs.
    """
    if name == "yelp":
        raise DataError(YELP_STEPS)
    if name not in RELEASES:
        raise DataError.at(f"no release {name!r}", f"choose one of {', '.join([*RELEASES, 'yelp'])}")
    release, target = RELEASES[name], folder / name
    category = category or release.category
    if category and not re.fullmatch(r"\w+", category):
        raise DataError.at(f"{category!r} is no category", f"see the names at {release.page}")
    inside = target
    for file in release.files:
        inside = _fetch_file(RemoteFile(file.url.format(category=category), file.checksum), target, progress)
    return inside


def _fetch_file(file: RemoteFile, folder: Path, progress: Progress) -> Path:
    """Fetch one file; returns the folder that holds what is in it."""
    path = folder / file.url.rpartition("/")[2]
    noted = path.with_name(f"{path.name}.sha256")
    known = file.checksum or (f"sha256:{noted.read_text().split()[0]}" if noted.is_file() else None)
    try:
        pooch.retrieve(file.url, known, path.name, folder, downloader=_Resuming(path, progress))
    except (requests.RequestException, urllib3.exceptions.HTTPError, RetryError) as error:
        cause = error.last_attempt.exception() if isinstance(error, RetryError) else error
        way_out = "run the command again: it goes on from there"
        raise DataError.at(f"cannot be fetched: {cause}", way_out, file=file.url) from error
    except ValueError as error:
        way_out = f"run the command again; if it is the publisher who changed the file, delete {noted} first"
        raise DataError.at("the checksum is not the expected one", way_out, file=file.url) from error
    if not file.checksum:
        noted.write_text(f"{pooch.file_hash(str(path))}  {path.name}\n")
    return _unpacked(path) if path.suffix == ".zip" else folder


def _unpacked(path: Path) -> Path:
    """Unpack beside the archive; returns the folder of its first file."""
    with ZipFile(path) as archive:
        archive.extractall(path.parent)
        first = next(name for name in archive.namelist() if not name.endswith("/"))
    return (path.parent / first).parent


class _Resuming:
    """A downloader for pooch that goes on where an earlier attempt, or an earlier run, broke off.

    The part that is there is only continued if the server's file is still the same one (its ETag, or its date).
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._part, self._tag = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.etag")
        self._name, self._progress = path.name, progress

    def __call__(self, url: str, output_file: str, _: Any, check_only: bool = False) -> None:
        broken = (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError)
        waiting = wait_exponential(multiplier=0.2, max=20)
        for attempt in Retrying(
            stop=stop_after_attempt(_ATTEMPTS), wait=waiting, retry=retry_if_exception_type(broken)
        ):
            with attempt:
                self._continue(url)
        self._part.replace(output_file)
        self._tag.unlink(missing_ok=True)

    def _continue(self, url: str) -> None:
        there = self._part.stat().st_size if self._part.is_file() and self._tag.is_file() else 0
        # The bytes as they are: a gzip file is not to be unpacked on the way.
        headers = {"Accept-Encoding": "identity"}
        if there:
            headers |= {"Range": f"bytes={there}-", "If-Range": self._tag.read_text()}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()  # complete already, or not what the server has now
                raise requests.ConnectionError("the part that is there cannot be continued")
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            if tag := response.headers.get("ETag") or response.headers.get("Last-Modified"):
                self._tag.write_text(tag)
            self._receive(response, there if resumed else 0)

    def _receive(self, response: requests.Response, there: int) -> None:
        length = response.headers.get("Content-Length")
        total = there + int(length) if length else None
        with self._part.open("ab" if there else "wb") as part:
            for piece in response.raw.stream(_PIECE, decode_content=False):
                part.write(piece)
                there += len(piece)
                self._progress(self._name, there, total)
