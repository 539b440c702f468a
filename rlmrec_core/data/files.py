"""Files of text as people have them: found by name or pattern, unpacked, and decoded to UTF-8.

What a file is packed with is told by its first bytes, whatever its name says: gzip, bzip2, xz, zstd and zip with one
file inside are unpacked; tar archives, spreadsheets and other packed things are refused by name, never read as text.
"""

import bz2
import codecs
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import pyarrow as pa
from isal import igzip, isal_zlib

from rlmrec_core.data.errors import DataError

BLOCK_BYTES = 2 << 20
_HEAD_BYTES = 512
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_UNPACK, _EXPORT, _FETCH = "unpack it", "export its tables as CSV", "fetch the file itself"
_FOREIGN = {
    b"PAR1": ("a Parquet file", "name it .parquet"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "save it as CSV"),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"Rar!": ("a RAR archive", _UNPACK),
    b"\x04\x22\x4d\x18": ("packed with lz4", _UNPACK),
    b"\x1f\x9d": ("packed with compress", _UNPACK),
    b"PK\x05\x06": ("an empty zip archive", "pack the data anew"),
    b"SQLite format 3": ("an SQLite database", _EXPORT),
    b"\x89HDF": ("an HDF5 file", _EXPORT),
    b"ARROW1": ("an Arrow file", "save it as Parquet"),
    b"\x93NUMPY": ("a NumPy array", _EXPORT),
    b"%PDF": ("a PDF document", _EXPORT),
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch the file by: git lfs pull"),
    b"<!DOCTYPE": ("a web page", _FETCH),
    b"<!doctype": ("a web page", _FETCH),
    b"<html": ("a web page", _FETCH),
    b"<?xml": ("an XML document", _EXPORT),
}
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")  # Else it may be text.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
ONE_PER_LINE = "write one JSON object per line, in UTF-8"
_ONE_BY_ONE = ONE_PER_LINE + ", such as by: jq -c '{}' OLD.json > NEW.jsonl"
PACKINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")


def find_files(folder: Path, wanted: str | Sequence[str]) -> list[Path]:
    """The files of `folder` under a name, a glob pattern or several of these; what a pattern finds is sorted by name.

    A name that exists is taken as it is before it is a pattern. Absolute names stand for themselves.
    """
    if not isinstance(wanted, str):
        return list(dict.fromkeys(file for one in wanted for file in find_files(folder, one)))
    path = folder / Path(wanted).expanduser()
    try:
        found = [path] if path.exists() else []
        if not found:
            root = Path(path.anchor) if Path(wanted).expanduser().is_absolute() else folder
            found = sorted(root.glob(str(path.relative_to(root))))
        files = [one for one in found if one.is_file()]
        if found and not files:
            raise _no_file(found[0])
    except (OSError, ValueError, NotImplementedError) as error:
        if isinstance(error, DataError):
            raise
        problem = f"the files cannot be listed: {error}"
        raise DataError.at(problem, "check the name and the permissions", file=path) from error
    return files


def _no_file(path: Path) -> DataError:
    if path.is_dir():
        return DataError.at("a folder, not a file", "name the files inside it, such as FOLDER/*.csv", file=path)
    what = "no regular file" if path.exists() else "a link to nothing"
    return DataError.at(what, "write the data to a file", file=path)


def format_of(file: Path) -> str:
    """The suffix that says what a file holds, in small letters, without its packing's: `.csv` of `a.CSV.gz`.

    A zip archive that has no other is known by the file inside.
    """
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes == [".zip"]:
        with explained(file), zipfile.ZipFile(file) as archive:
            suffixes = [suffix.lower() for suffix in Path(_member(archive, file)).suffixes]
    while len(suffixes) > 1 and suffixes[-1] in PACKINGS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turn what the libraries and the operating system raise on a file into a DataError."""
    way_out = "repair or export it anew"
    try:
        yield
    except FileNotFoundError as error:
        raise DataError.at("no such file", "check ingest.path and the file's name", file=file) from error
    except PermissionError as error:
        raise DataError.at("no permission to read it", "change the file's permissions", file=file) from error
    except IsADirectoryError as error:
        raise DataError.at("a folder, not a file", "name the file inside it", file=file) from error
    except EOFError as error:
        problem = "the file cannot be read: it ends too early, truncated, or holds something else at its end"
        raise DataError.at(problem, way_out, file=file) from error
    except (pa.ArrowException, OSError, tarfile.TarError, zlib.error, isal_zlib.IsalError, lzma.LZMAError) as error:  # type: ignore[misc]
        raise DataError.at(f"the file cannot be read: {_one_line(error)}", way_out, file=file) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        if isinstance(error, RecursionError):
            raise
        raise DataError.at(f"the archive cannot be read: {_one_line(error)}", "unpack it first", file=file) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def read_utf8(file: Path, encoding: str | None = None) -> Iterator[bytes]:
    """The file's text in UTF-8, unpacked, without a byte order mark, in blocks of about BLOCK_BYTES.

    encoding: what it is written in where no byte order mark tells; none takes UTF-8, which is passed on unchecked.
    Lines may end as on very old machines. Raises DataError on a file that cannot be read or that is no text.
    """
    blocks = _utf8_blocks(file, encoding)
    first = next(blocks, b"")
    old = b"\r" in first and b"\n" not in first
    for block in chain([first], blocks):
        if block:
            yield block.replace(b"\r", b"\n") if old else block


def _utf8_blocks(file: Path, encoding: str | None) -> Iterator[bytes]:
    with explained(file), ExitStack() as stack:
        stream = _unpacked(file, stack)
        block = stream.read(BLOCK_BYTES)
        _refuse_foreign(block[:_HEAD_BYTES], file)
        if _packing(block):
            raise DataError.at("packed more than once", "unpack it", file=file)
        mark = next((mark for mark in _MARKS if block.startswith(mark)), b"")
        encoding = _MARKS[mark] if mark else codecs.lookup(encoding or "utf-8").name
        block = block[len(mark) :]
        if encoding not in ("utf-8", "utf-8-sig"):
            yield from _decoded(block, stream, encoding, file)
            return
        while block.startswith(codecs.BOM_UTF8):  # Files that were joined, or exported twice.
            block = block.removeprefix(codecs.BOM_UTF8)
        _refuse_zeros(block, file)
        while block:
            yield block
            block = stream.read(BLOCK_BYTES)


def _decoded(block: bytes, stream: IO[bytes], encoding: str, file: Path) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    n_lines = 0
    while True:
        try:
            text = decoder.decode(block, final=not block).encode()
        except UnicodeError as error:
            problem = f"the text is not {encoding} somewhere after line {n_lines + 1:,} ({_one_line(error)})"
            raise DataError.at(problem, "name the right ingest.encoding", file=file) from error
        n_lines += text.count(b"\n")
        if text:
            yield text.removeprefix(codecs.BOM_UTF8)
        if not block:
            return
        block = stream.read(BLOCK_BYTES)


def _refuse_zeros(block: bytes, file: Path) -> None:
    """Text in UTF-16 has a zero in every other byte; no other text has that."""
    head = block[:_HEAD_BYTES].rstrip(b"\0")
    if block and not head:
        raise DataError.at("the file holds zero bytes instead of text", "export it anew", file=file)
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(head) >= 4 and zeros.count(0) * 2 > len(zeros):
            way_out = f"save it as UTF-8, or set ingest.encoding to {encoding!r}"
            raise DataError.at("the text seems to be UTF-16, not UTF-8", way_out, file=file)


def _unpacked(file: Path, stack: ExitStack) -> IO[bytes]:
    """The file opened, with what it is packed in taken off."""
    stream: IO[bytes] = stack.enter_context(file.open("rb"))
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    _refuse_foreign(head, file)
    packing = _packing(head)
    return _unpack(stream, packing, file, stack) if packing else stream


def _packing(head: bytes) -> str | None:
    if _BZIP2.match(head):
        return "bzip2"
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _unpack(stream: IO[bytes], packing: str, file: Path, stack: ExitStack) -> IO[bytes]:
    opened: IO[bytes]
    if packing == "gzip":
        opened = igzip.open(stream, "rb")  # type: ignore[no-untyped-call]
    elif packing == "bzip2":
        opened = bz2.BZ2File(stream)
    elif packing == "xz":
        opened = lzma.LZMAFile(stream)  # noqa: SIM115
    elif packing == "zstd":
        opened = pa.CompressedInputStream(pa.PythonFile(stream), "zstd")
    else:
        archive = stack.enter_context(zipfile.ZipFile(stream))
        return stack.enter_context(archive.open(_member(archive, file)))
    return stack.enter_context(opened)


def _member(archive: zipfile.ZipFile, file: Path) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not _is_litter(name)]
    if "[Content_Types].xml" in names or names[:1] == ["mimetype"]:
        raise DataError.at("an Excel workbook or another document, not text", "save it as CSV", file=file)
    if len(names) != 1:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise DataError.at(f"the zip archive holds {len(names)} files ({shown}), not one", "unpack it", file=file)
    return names[0]


def _is_litter(name: str) -> bool:
    """Whether a file manager put the file into the archive."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _refuse_foreign(head: bytes, file: Path) -> None:
    if head[257:262] == b"ustar":
        raise DataError.at("a tar archive, not text", "unpack it", file=file)
    for magic, (what, way_out) in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError.at(f"{what}, not text", way_out, file=file)


def refuse_whole_json(lines: Sequence[bytes], file: Path | str) -> None:
    """Raise DataError if the first lines begin one JSON text that goes over the whole file, such as an array."""
    first, *others = [line for line in map(bytes.strip, lines) if line][:2] or [b""]
    if first.startswith(b"[") and (first[1:].lstrip()[:1] in (b"", b"{") or not others):
        raise DataError.at("one JSON array, not an object per line", _ONE_BY_ONE.format(".[]"), file=file)
    if first == b"{":
        raise DataError.at("a JSON object over several lines", _ONE_BY_ONE.format("."), file=file)


def holds_utf8(file: Path) -> bool:
    """Whether a file without a byte order mark has characters beyond ASCII, all of them in UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    beyond = False
    with explained(file), ExitStack() as stack:
        stream = _unpacked(file, stack)
        block = stream.read(BLOCK_BYTES)
        if any(block.startswith(mark) for mark in _MARKS):
            return False
        while block:
            beyond = beyond or not block.isascii()
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return False
            block = stream.read(BLOCK_BYTES)
    return beyond
