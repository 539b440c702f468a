"""Where a store lies, and the file system behind its address."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from storage.errors import StoreError

_EXTRA = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}


class StoreConfig(BaseModel):
    """Where artifacts are kept. Credentials of a bucket come from the environment, never from here."""

    # An address that is refused may hold a password, and errors are shown and logged.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str | None = Field(
        None,
        title="Artifact store",
        description="Folder, or s3:// gs:// abfs:// address; none takes RLMREC_STORE from the worker's environment, "
        "else the folder artifacts. A relative folder starts at RLMREC_HOME",
    )

    @field_validator("url")
    @classmethod
    def _holds_no_secret(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if parts.scheme and (parts.password or parts.query):
            raise ValueError(
                "an address must hold no password and no query: credentials belong into the environment "
                "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_...)"
            )
        return url

    def address(self, environment: Mapping[str, str] = os.environ) -> str:
        """The store's address: as it stands if it has a scheme, else an absolute path."""
        url = self.url or environment.get("RLMREC_STORE") or "artifacts"
        return url if "://" in url else str(Path(environment.get("RLMREC_HOME", "."), url).resolve())

    def absolute(self) -> "StoreConfig":
        """The same store for processes with another environment or working directory."""
        return StoreConfig(url=self.address())


def open_files(url: str) -> tuple[Any, str]:
    """The fsspec file system of `url`, and the path of `url` in it. Raises StoreError if it cannot be reached."""
    # Other processes write, too: a remembered listing would hide what they wrote.
    try:
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        package = _EXTRA.get(url.partition("://")[0], "its fsspec package")
        raise StoreError(f"cannot reach {url}: install {package} first") from error
    except ValueError as error:
        raise StoreError(f"cannot reach {url}: {error}") from error
    return fs, str(path)


def is_local(fs: Any) -> bool:
    """Whether the file system is this machine's, so that a rename is one step."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    return "file" in protocols
