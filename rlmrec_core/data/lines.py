"""Files of one object per line, read as a stream of blocks of whole lines: plain, packed, or inside a tar archive."""

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from isal import igzip_threaded

from rlmrec_core.data.errors import DataError
from rlmrec_core.data.files import explained, read_utf8

BLOCK_BYTES = 2 << 20
LONGEST_LINE = 64 << 20
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


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

    @classmethod
    def at(cls, file: LineFile, first_line: int, data: bytes) -> "Block":
        """The block with its lines counted."""
        return cls(file, first_line, data.count(b"\n") + (not data.endswith(b"\n")), data)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, without blanks around them, each with its number."""
        lines = enumerate(self.data.split(b"\n"), start=self.first_line)
        return ((number, stripped) for number, line in lines if (stripped := line.strip()))


def read_blocks(file: LineFile, encoding: str | None = None) -> Iterator[Block]:
    """The file from beginning to end, in UTF-8, a few MiB at a time.

    encoding: what it is written in where no byte order mark tells; none takes UTF-8. Raises DataError if it is missing,
    truncated, damaged, no text, or has a line longer than LONGEST_LINE.
    """
    first_line, n_begun = 1, 0
    begun: list[bytes] = []
    for piece in read_utf8(file.path, encoding) if file.member is None else _read_member(file.path, file.member):
        ended = piece.rfind(b"\n") + 1
        if ended:
            block = Block.at(file, first_line, b"".join([*begun, memoryview(piece)[:ended]]))
            yield block
            first_line, begun, n_begun = first_line + block.n_lines, [], 0
        begun.append(piece[ended:])
        n_begun += len(piece) - ended
        if n_begun > LONGEST_LINE:
            problem = f"a line of more than {LONGEST_LINE >> 20} MiB"
            raise DataError.at(problem, "write one object per line", file=str(file), row=first_line)
    if n_begun:
        yield Block.at(file, first_line, b"".join(begun))


def _read_member(path: Path, name: str) -> Iterator[bytes]:
    """The content of the file of that name in a tar archive, wherever it lies there."""
    with explained(path), ExitStack() as stack:
        plain = path.suffix == ".tar"
        raw = stack.enter_context(path.open("rb") if plain else igzip_threaded.open(path, "rb"))  # type: ignore[no-untyped-call]
        archive = stack.enter_context(tarfile.open(fileobj=raw, mode="r|"))
        for entry in archive:
            if Path(entry.name).name == name and (content := archive.extractfile(entry)):
                while piece := content.read(BLOCK_BYTES):
                    yield piece
                return
    raise DataError.at(f"the archive has no {name}", "fetch it anew", file=path)
