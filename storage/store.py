"""The artifact store: find, write, read, list."""

import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from pydantic import ValidationError

from storage.errors import StoreError, Unreachable, explained
from storage.files import StoreConfig, is_local, open_files
from storage.keys import artifact_key, checked_file, checked_key, checked_path, checked_stage
from storage.manifest import MANIFEST, ArtifactRef, Content, Manifest, Run
from storage.writer import ArtifactWriter

_log = logging.getLogger(__name__)
TEMPORARY, WORK = ".tmp", ".work"
_LIBRARIES = ("rlmrec", "pyarrow", "numpy", "torch")


class ArtifactStore:
    """Artifacts under `url`/stage/key/. A reader sees all of an artifact or nothing of it.

    Files are written to a local temporary folder first. On a local store the folder is renamed into place; on an object
    store its files are uploaded, manifest last, and an artifact without a manifest does not exist.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = open_files(url)
        self.url = url
        self.is_local = is_local(self._fs)
        # Locks, checkpoints and unfinished files; local, wherever the artifacts are.
        self.scratch = Path(self._root) if self.is_local else _scratch_for(url)

    @classmethod
    def open(cls, config: StoreConfig) -> "ArtifactStore":
        """The store at `config.url`; nothing is created until something is written."""
        return cls(config.address())

    def check_bucket(self) -> None:
        """Raise StoreError if the store is in a bucket that does not exist; a local folder is made when needed."""
        bucket = self._root.partition("/")[0]
        with explained(f"reach {self.url}"):
            if not self.is_local and not self._fs.exists(bucket):
                raise StoreError(f"there is no bucket {bucket!r} for {self.url}: create it, or mend the address")

    def find(self, stage: str, key: str) -> ArtifactRef | None:
        """The artifact, if it is there and every file still has its sha256."""
        ref = ArtifactRef(checked_stage(stage), checked_key(key), self.url)
        manifest = self._readable(ref)
        if manifest is None:
            return None
        damaged = self.damaged_files(ref, manifest)
        if damaged:
            _log.warning("%s is damaged (%s) and will be rebuilt", ref, ", ".join(damaged))
            return None
        return ref

    def manifest(self, ref: ArtifactRef) -> Manifest:
        """What the artifact says of itself. Raises StoreError if there is none, or it is unreadable or altered."""
        try:
            with explained(f"read {ref} in {self.url}"):
                manifest = Manifest.model_validate_json(self._fs.cat_file(self._path(ref, MANIFEST)))
        except FileNotFoundError:
            raise StoreError(f"no artifact {ref} in {self.url}: run the stage {ref.stage!r} first") from None
        except ValidationError as error:
            raise StoreError(f"the manifest of {ref} in {self.url} is unreadable: run its stage again") from error
        if not manifest.is_consistent() or manifest.content.key != ref.key:
            raise StoreError(f"the manifest of {ref} in {self.url} was altered: run its stage again")
        return manifest

    def damaged_files(self, ref: ArtifactRef, manifest: Manifest) -> list[str]:
        """Names of files that are missing or whose sha256 is not the manifest's."""
        return [name for name, entry in manifest.content.files.items() if self._sha256(ref, name) != entry.sha256]

    def table(self, ref: ArtifactRef, name: str, columns: list[str] | None = None) -> pa.Table:
        """A table of the artifact, in memory. Raises StoreError if it has none of that name."""
        return pq.read_table(self._existing(ref, f"{name}.parquet"), columns=columns, filesystem=self._fs)

    def dataset(self, ref: ArtifactRef, name: str) -> pads.Dataset:
        """A table of the artifact to be read in pieces. Raises StoreError if it has none of that name."""
        # Arrow's read-ahead keeps what it read until the file is through: memory would grow with the file.
        parquet = pads.ParquetFileFormat(pre_buffer=False)
        return pads.dataset(self._existing(ref, f"{name}.parquet"), format=parquet, filesystem=self._fs)

    def read_bytes(self, ref: ArtifactRef, name: str) -> bytes:
        """The content of a file that is no table."""
        content: bytes = self._fs.cat_file(self._existing(ref, name))
        return content

    def address(self, ref: ArtifactRef, name: str = "") -> str:
        """Where the artifact, or one file of it, lies."""
        return str(self._fs.unstrip_protocol(self._path(ref, name))) if not self.is_local else self._path(ref, name)

    @contextmanager
    def lock(self, stage: str, key: str) -> Iterator[None]:
        """Held by one process at a time for each key; the kernel frees it when its holder dies."""
        with self._lock_file(stage, key) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def try_lock(self, stage: str, key: str) -> Iterator[bool]:
        """As `lock`, but without waiting: False if somebody else holds it."""
        with self._lock_file(stage, key) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _lock_file(self, stage: str, key: str) -> TextIO:
        with explained(f"lock {stage} in {self.url}"):
            folder = self.scratch / ".locks"
            folder.mkdir(parents=True, exist_ok=True)
            return (folder / f"{checked_stage(stage)}-{checked_key(key)}").open("w")

    @contextmanager
    def writer(
        self, stage: str, key: str, *, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> Iterator[ArtifactWriter]:
        """Write an artifact; it appears whole when the block ends well, and not at all when it does not.

        One that the block calls unfinished gets a key of its own: it serves those who were handed it, and whoever looks
        for `key` does not find it and makes the whole.
        To be used by one process at a time for each key: inside `lock` where there may be others.
        Raises StoreError when the disk is full or the store may not be written.
        """
        ref = ArtifactRef(checked_stage(stage), checked_key(key), self.url)
        started = time.monotonic()
        with self._temporary_folder(f"{stage}-{key}") as folder:
            writer = ArtifactWriter(folder)
            yield writer
            if writer.unfinished:
                config = {**config, "unfinished": writer.unfinished}
                ref = ArtifactRef(stage, artifact_key(stage, version, config, inputs), self.url)
            writer.key = ref.key
            content = Content(
                stage=stage, key=ref.key, version=version, config=dict(config), inputs=dict(inputs),
                files=writer.files, libraries={name: library_version(name) for name in _LIBRARIES},
            )  # fmt: skip
            with explained(f"publish {ref} in {self.url}"):
                self._publish(folder, ref, Manifest.of(content, _run(started - writer.earlier_seconds)))
        shutil.rmtree(self.work_dir_path(stage, key), ignore_errors=True)

    def work_dir(self, stage: str, key: str) -> Path:
        """A local folder for checkpoints that outlives a crash; removed once the artifact is written."""
        folder = self.work_dir_path(stage, key)
        with explained(f"create {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def work_dir_path(self, stage: str, key: str) -> Path:
        """Where `work_dir` is, whether or not it exists."""
        return self.scratch / WORK / f"{checked_stage(stage)}-{checked_key(key)}"

    @property
    def ledger_path(self) -> Path:
        """The SQLite ledger of paid calls; local, since SQLite needs a file system that locks."""
        with explained(f"create {self.scratch}"):
            self.scratch.mkdir(parents=True, exist_ok=True)
        return self.scratch / "ledger.sqlite"

    def refs(self, stage: str | None = None) -> list[ArtifactRef]:
        """Every artifact, or those of one stage, newest first. Those that cannot be read are left out."""
        pattern = f"{self._root}/{checked_stage(stage) if stage else '*'}/*/{MANIFEST}"
        with explained(f"list {self.url}"):
            places = [path.split("/")[-3:-1] for path in self._fs.glob(pattern)]
        found = [ArtifactRef(stage_name, key, self.url) for stage_name, key in places]
        dated = [(manifest.run.created, ref) for ref in found if (manifest := self._readable(ref))]
        return [ref for _, ref in sorted(dated, key=lambda pair: (pair[0], pair[1].key), reverse=True)]

    def remove(self, ref: ArtifactRef) -> None:
        """Delete an artifact, manifest first, so that no reader meets a part of it."""
        with explained(f"remove {ref} from {self.url}"):
            self._fs.rm_file(self._path(ref, MANIFEST))
            self._fs.rm(self._path(ref), recursive=True)

    def write_json(self, name: str, value: Any) -> str:
        """Write a small JSON file under the store's root, whole or not at all; returns where it is.

        name: a file name, folders before it. A reader sees the old content or the new one.
        """
        path = f"{self._root}/{checked_path(name)}"
        content = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode()
        with explained(f"write {path}"):
            if self.is_local:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                temporary = Path(f"{path}.{uuid.uuid4().hex}.tmp")
                try:
                    temporary.write_bytes(content)
                    temporary.replace(path)
                finally:
                    temporary.unlink(missing_ok=True)
            else:
                self._fs.pipe_file(path, content)
        return path

    def read_json(self, name: str) -> Any:
        """A JSON file under the store's root, or None if there is none. Raises StoreError if it is damaged."""
        try:
            with explained(f"read {name} in {self.url}"):
                return json.loads(self._fs.cat_file(f"{self._root}/{checked_path(name)}"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{name} in {self.url} is damaged ({error}): remove it and run again") from None

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder under the store's root that hold JSON files, sorted."""
        with explained(f"list {self.url}"):
            found = self._fs.glob(f"{self._root}/{checked_path(path)}/*/*.json")
        return sorted({file.split("/")[-2] for file in found})

    def _path(self, ref: ArtifactRef, name: str = "") -> str:
        folder = f"{self._root}/{checked_stage(ref.stage)}/{checked_key(ref.key)}"
        return f"{folder}/{checked_file(name)}" if name else folder

    def _existing(self, ref: ArtifactRef, name: str) -> str:
        if name not in self.manifest(ref).content.files:
            raise StoreError(f"{ref} in {self.url} has no file {name}: run its stage again with force")
        return self._path(ref, name)

    def _sha256(self, ref: ArtifactRef, name: str) -> str | None:
        try:
            with self._fs.open(self._path(ref, name), "rb", block_size=1 << 20) as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def _readable(self, ref: ArtifactRef) -> Manifest | None:
        try:
            return self.manifest(ref)
        except Unreachable:
            raise
        except StoreError:
            return None

    @contextmanager
    def _temporary_folder(self, name: str) -> Iterator[Path]:
        folder = self.scratch / TEMPORARY / name
        shutil.rmtree(folder, ignore_errors=True)  # left by a writer that was killed
        with explained(f"create {folder}"):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _publish(self, folder: Path, ref: ArtifactRef, manifest: Manifest) -> None:
        present = self._readable(ref)
        if present and present.digest == manifest.digest and not self.damaged_files(ref, present):
            return  # another run wrote the same bytes; a reader may have them open
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2), encoding="utf-8")
        self._rename(folder, Path(self._path(ref))) if self.is_local else self._upload(folder, ref, manifest)

    @staticmethod
    def _rename(folder: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        old = folder.with_suffix(".old")
        shutil.rmtree(old, ignore_errors=True)  # left by a writer that was killed between the two renames
        if target.exists():
            target.rename(old)
        folder.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    def _upload(self, folder: Path, ref: ArtifactRef, manifest: Manifest) -> None:
        if self._fs.exists(self._path(ref, MANIFEST)):
            self._fs.rm_file(self._path(ref, MANIFEST))
        for name in [*manifest.content.files, MANIFEST]:
            self._fs.put_file(str(folder / name), self._path(ref, name))


def _scratch_for(url: str) -> Path:
    base = Path(os.environ.get("RLMREC_SCRATCH", Path.home() / ".cache" / "rlmrec"))
    return base / hashlib.sha256(url.encode()).hexdigest()[:16]


def _run(started: float) -> Run:
    created = datetime.now(UTC).isoformat(timespec="microseconds")
    return Run(created=created, seconds=round(time.monotonic() - started, 3), machine=platform.node())
