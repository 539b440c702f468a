"""An export as files in a folder."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from rlmrec_core.config.export import FileFormat
from rlmrec_core.export.tables import ExportError, ExportTables

CURRENT = "current"
"""The link to the newest export in a folder."""

_KEPT = 2
"""Exports that stay: the newest, and the one before for those who are still reading it."""


def write_files(tables: ExportTables, folder: Path, formats: Sequence[FileFormat]) -> Path:
    """Write an export into a folder of its own in `folder`, then point the link `current` to it; returns the former.

    A crash leaves what was current. manifest.json names every file with its rows and sha256.
    Raises ExportError if the folder cannot be written, or faiss is wanted and not installed.
    """
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
    pyarrow.csv.write_csv(tables.lists, folder / "lists.csv")
    return {"lists.csv": len(tables.lists)}


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


_WRITERS: dict[FileFormat, Callable[[ExportTables, Path], dict[str, int]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "jsonl": _jsonl,
    "npy": _npy,
    "faiss": _faiss,
}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _point(link: Path, target: str) -> None:
    """Let the link point to `target`, in one step."""
    if link.exists() and not link.is_symlink():
        raise ExportError(f"{link} is no link that an export made: choose another folder")
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _remove_old(folder: Path) -> None:
    made = sorted(path for path in folder.iterdir() if (path / "manifest.json").is_file() and not path.is_symlink())
    for old in made[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
