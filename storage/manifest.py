"""What an artifact says of itself."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from rlmrec_core.canonical import digest_of

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ArtifactRef:
    """The small thing that stages hand each other instead of data."""

    stage: str
    key: str
    url: str
    """Address of the store that holds it."""

    def __str__(self) -> str:
        return f"{self.stage}/{self.key[:12]}"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Record):
    """One file of an artifact."""

    sha256: str
    bytes: int
    rows: int | None = None
    columns: dict[str, str] | None = None


class Content(_Record):
    """The part of a manifest that must be the same for the same key."""

    stage: str
    key: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    files: dict[str, FileEntry]
    libraries: dict[str, str]


class Run(_Record):
    """What varies between two computations of the same artifact; outside the digest."""

    created: str
    seconds: float
    """From start to end, with interrupted attempts whose work was gone on from."""
    machine: str


class Manifest(_Record):
    """Everything known of an artifact without opening its tables."""

    content: Content
    digest: str
    run: Run

    @classmethod
    def of(cls, content: Content, run: Run) -> "Manifest":
        """A manifest whose digest covers `content`."""
        return cls(content=content, digest=digest_of(content.model_dump()), run=run)

    def is_consistent(self) -> bool:
        """Whether the content is the one that was signed."""
        return self.digest == digest_of(self.content.model_dump())

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(entry.rows or 0 for entry in self.content.files.values())

    @property
    def bytes(self) -> int:
        """Size of all files together, in bytes."""
        return sum(entry.bytes for entry in self.content.files.values())
