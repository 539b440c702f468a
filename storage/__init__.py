"""The content-addressed artifact store: the only room that knows Parquet files, paths and buckets."""

from storage.errors import StoreError
from storage.keys import artifact_key, canonical_json, digest_of
from storage.manifest import ArtifactRef, FileEntry, Manifest
from storage.store import ArtifactStore, StoreConfig
from storage.writer import ArtifactWriter

__all__ = [
    "ArtifactRef",
    "ArtifactStore",
    "ArtifactWriter",
    "FileEntry",
    "Manifest",
    "StoreConfig",
    "StoreError",
    "artifact_key",
    "canonical_json",
    "digest_of",
]
