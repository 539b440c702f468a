"""The content-addressed artifact store: the only room that knows Parquet files, paths and buckets."""

from storage.errors import StoreError
from storage.files import StoreConfig
from storage.keys import artifact_key
from storage.leftovers import Leftover, leftovers, sweep
from storage.manifest import ArtifactRef, FileEntry, Manifest
from storage.store import ArtifactStore
from storage.writer import ArtifactWriter

__all__ = [
    "ArtifactRef",
    "ArtifactStore",
    "ArtifactWriter",
    "FileEntry",
    "Leftover",
    "Manifest",
    "StoreConfig",
    "StoreError",
    "artifact_key",
    "leftovers",
    "sweep",
]
