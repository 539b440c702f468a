"""Files of one object per line, read as a stream of blocks of whole lines: plain, gzipped, or inside a tar archive."""

import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from isal import igzip_threaded, isal_zlib

from rlmrec_core.data.errors import DataError

BLOCK_BYTES = 1 << 20
LONGEST_LINE = 64 << 20
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class LineFile:
    """A file of lines; `member` is its name inside the archive `path`, where that is one."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)


@dataclass(frozen=True)
class Block:
    """Whole lines of a file; `first_line` is the number of the first, from 1; `n_lines` includes blank ones."""

    file: LineFile
    first_line: int
    n_lines: int
    data: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, without blanks around them, each with its number."""
        lines = enumerate(self.data.split(b"\n"), start=self.first_line)
        return ((number, stripped) for number, line in lines if (stripped := line.strip()))


def read_blocks(file: LineFile) -> Iterator[Block]:
    """The file from beginning to end, about BLOCK_BYTES at a time.

    Raises DataError if it is missing, truncated, damaged, or has a line longer than LONGEST_LINE.
    """
    first_line = 1
    with _explained(file), ExitStack() as stack:
        stream = _open(file, stack)
        while data := stream.read(BLOCK_BYTES):
            data += _rest_of_line(stream, data, file, first_line)
            n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
            yield Block(file, first_line, n_lines, data.removeprefix(_BYTE_ORDER_MARK) if first_line == 1 else data)
            first_line += n_lines


def _rest_of_line(stream: IO[bytes], data: bytes, file: LineFile, first_line: int) -> bytes:
    if data.endswith(b"\n"):
        return b""
    rest = stream.readline(LONGEST_LINE)
    if len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
        problem = f"a line of more than {LONGEST_LINE >> 20} MiB"
        row = first_line + data.count(b"\n")
        raise DataError.at(problem, "write one object per line", file=str(file), row=row)
    return rest


def _open(file: LineFile, stack: ExitStack) -> IO[bytes]:
    if not file.path.is_file():
        raise DataError.at("no such file", "check ingest.path and the file's name", file=file.path)
    if file.member is None:
        return _open_plain(file.path, stack)
    compressed = file.path.suffix != ".tar"
    raw = _open_plain(file.path, stack, zipped=compressed)
    archive = stack.enter_context(tarfile.open(fileobj=raw, mode="r|"))  # noqa: SIM115
    for entry in archive:
        if Path(entry.name).name == file.member and (content := archive.extractfile(entry)):
            return content
    raise DataError.at(f"the archive has no {file.member}", "fetch it anew", file=file.path)


def _open_plain(path: Path, stack: ExitStack, zipped: bool | None = None) -> IO[bytes]:
    if path.suffix == ".gz" if zipped is None else zipped:
        # A thread of its own unpacks ahead of the reader.
        unpacked: IO[bytes] = igzip_threaded.open(path, "rb")  # type: ignore[no-untyped-call]
        return stack.enter_context(unpacked)
    return stack.enter_context(path.open("rb"))


@contextmanager
def _explained(file: LineFile) -> Iterator[None]:
    """Turn what the libraries raise on a damaged file into a DataError."""
    try:
        yield
    except EOFError as error:
        raise DataError.at("the gzip file ends too early: it is truncated", "fetch it anew", file=str(file)) from error
    except (isal_zlib.IsalError, zlib.error, tarfile.TarError, OSError) as error:  # type: ignore[misc]
        raise DataError.at(f"the file cannot be read: {error}", "fetch it anew", file=str(file)) from error
