"""An export as files in a folder."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from rlmrec_core.config.export import FileFormat
from rlmrec_core.export.tables import ExportError, ExportTables

CURRENT = "current"
"""The link to the newest export in a folder."""

_MADE = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
"""Names of exports, and of nothing else that a folder may hold."""

_KEPT = 2
"""Exports that stay: the newest, and the one before for those who are still reading it."""


def write_files(tables: ExportTables, folder: Path, formats: Sequence[FileFormat]) -> Path:
    """Write an export into a folder of its own in `folder`, then point the link `current` to it; returns the former.

    A crash leaves what was current. manifest.json names every file with its rows and sha256.
    Raises ExportError if the folder cannot be written, or faiss is wanted and not installed.
    """
    if (folder / CURRENT).exists() and not (folder / CURRENT).is_symlink():
        raise ExportError(f"{folder / CURRENT} is no link that an export made: choose another folder")
    made = folder / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    partial = folder / f".{made.name}"
    try:
        partial.mkdir(parents=True)
        rows: dict[str, int] = {}
        for name in dict.fromkeys(formats):
            rows |= _WRITERS[name](tables, partial)
        files = {name: {"rows": count, "sha256": _sha256(partial / name)} for name, count in rows.items()}
        (partial / "manifest.json").write_text(json.dumps(tables.about | {"files": files}, indent=2), encoding="utf-8")
        partial.rename(made)
        _point(folder / CURRENT, made.name)
        _remove_old(folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written ({error.strerror or error}): choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return made


def _parquet(tables: ExportTables, folder: Path) -> dict[str, int]:
    found = {"lists.parquet": tables.lists, "users.parquet": tables.users, "items.parquet": tables.items}
    for name, table in found.items():
        pq.write_table(table, folder / name)
    return {name: len(table) for name, table in found.items()}


def _csv(tables: ExportTables, folder: Path) -> dict[str, int]:
    with (folder / "lists.csv").open("wb") as file:
        write_csv(tables.lists, file)
    return {"lists.csv": len(tables.lists)}


def write_csv(lists: pa.Table, file: BinaryIO) -> None:
    """Lists for spreadsheets, in UTF-8 with texts in quotes; an apostrophe stands before what would be a formula.

    Ids stay exact unless they hold more than letters, digits, - and _, without which a formula does nothing: they may
    well begin with -, and are what other tables are joined by. lists: schema RECOMMENDATIONS.
    """
    with pyarrow.csv.CSVWriter(file, lists.schema) as writer:
        for batch in lists.to_batches(max_chunksize=10_000):
            for name, pattern in _FORMULAS.items():
                inert = pc.replace_substring_regex(batch[name], pattern, r"'\1")
                batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), inert)
            writer.write_batch(batch)


_ALWAYS, _BESIDE_MORE = r"[=\t\r\n\x{FF1D}]", r"[+@\x{FF0B}\x{FF0D}\x{FF20}-]"
"""What a formula begins with; beyond ASCII the wide forms of the same signs."""
_TITLE = rf"(?s)^((?:{_ALWAYS}|{_BESIDE_MORE}).*)"
_ID = rf"(?s)^((?:{_ALWAYS}|{_BESIDE_MORE}.*[^\pL\pN_-]).*)"
_FORMULAS = {"user_id": _ID, "item_id": _ID, "title": _TITLE}
"""Cells that spreadsheets may run, by column."""


def _jsonl(tables: ExportTables, folder: Path) -> dict[str, int]:
    """One line for each user, with the whole list."""
    n_lists, user, items = 0, None, list[dict[str, object]]()
    with (folder / "lists.jsonl").open("w", encoding="utf-8") as file:

        def write() -> int:
            if items:
                file.write(json.dumps({"user_id": user, "items": items}, ensure_ascii=False) + "\n")
            return bool(items)

        for batch in tables.lists.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                if row["user_id"] != user:
                    n_lists += write()
                    user, items = row["user_id"], []
                items.append({name: value for name, value in row.items() if name != "user_id"})
        n_lists += write()
    return {"lists.jsonl": n_lists}


def _ids(tables: ExportTables, folder: Path, sides: Sequence[str]) -> dict[str, int]:
    found = {"user_ids.json": tables.user_ids, "item_ids.json": tables.item_ids}
    wanted = {name: ids for name, ids in found.items() if name.partition("_")[0] in sides}
    for name, ids in wanted.items():
        (folder / name).write_text(json.dumps(list(ids), ensure_ascii=False), encoding="utf-8")
    return {name: len(ids) for name, ids in wanted.items()}


def _npy(tables: ExportTables, folder: Path) -> dict[str, int]:
    for name, vectors in zip(("users.npy", "items.npy"), tables.vectors, strict=True):
        np.save(folder / name, np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)
    sizes = {"users.npy": len(tables.user_ids), "items.npy": len(tables.item_ids)}
    return sizes | _ids(tables, folder, ("user", "item"))


def _faiss(tables: ExportTables, folder: Path) -> dict[str, int]:
    """An exact index of the items by inner product; its numbers are places in item_ids.json."""
    try:
        import faiss
    except ImportError:
        raise ExportError("the format faiss needs a package that is not installed: pip install faiss-cpu") from None
    index = faiss.IndexFlatIP(tables.vectors.items.shape[1])
    index.add(np.ascontiguousarray(tables.vectors.items, dtype=np.float32))
    faiss.write_index(index, str(folder / "items.faiss"))
    return {"items.faiss": len(tables.item_ids)} | _ids(tables, folder, ("item",))


def _trec(tables: ExportTables, folder: Path) -> dict[str, int]:
    """A run and, where the lists may hold the test part, its judgements, as trec_eval reads them.

    What separates fields there, blanks, is written as in an address: %20, and so % as %25.
    """
    tag = _field(tables.model.replace(" ", "-"))
    rows = {"run.trec": len(tables.lists)}
    with (folder / "run.trec").open("w", encoding="utf-8") as file:
        for batch in tables.lists.to_batches(max_chunksize=10_000):
            columns = (batch[name].to_pylist() for name in ("user_id", "item_id", "rank", "score"))
            for user, item, rank, score in zip(*columns, strict=True):
                file.write(f"{_field(user)} Q0 {_field(item)} {rank} {score!r} {tag}\n")
    if tables.held_out is not None:
        rows["qrels.trec"] = len(tables.held_out)
        with (folder / "qrels.trec").open("w", encoding="utf-8") as file:
            for batch in tables.held_out.to_batches(max_chunksize=10_000):
                for user, item in zip(batch["user_id"].to_pylist(), batch["item_id"].to_pylist(), strict=True):
                    file.write(f"{_field(user)} 0 {_field(item)} 1\n")
    return rows


def _field(text: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found.group()), text)


_WRITERS: dict[FileFormat, Callable[[ExportTables, Path], dict[str, int]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
    "npy": _npy,
    "faiss": _faiss,
    "trec": _trec,
}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _point(link: Path, target: str) -> None:
    """Let the link point to `target`, in one step."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _remove_old(folder: Path) -> None:
    """Remove all exports before those that are kept, and what one that was killed then left behind."""
    made = sorted(path.name for path in folder.iterdir() if _MADE.fullmatch(path.name))
    for path in folder.iterdir():
        name = path.name.removeprefix(".")
        if _MADE.fullmatch(name) and name < made[-_KEPT:][0]:
            shutil.rmtree(path, ignore_errors=True)
