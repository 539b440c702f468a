"""Settings of the export of lists and vectors to other systems."""

from typing import Literal

from pydantic import Field, field_validator

from rlmrec_core.config.section import Section

FileFormat = Literal["parquet", "csv", "jsonl", "npy", "faiss", "trec"]


class ExportConfig(Section):
    """Where lists and vectors go, with the original ids, and in which form."""

    folder: str | None = Field(None, description="Folder that gets the files; none writes none")
    formats: tuple[FileFormat, ...] = Field(
        ("parquet", "csv"),
        min_length=1,
        description="Forms of the files: lists as parquet, csv, jsonl or a run of trec_eval; vectors as parquet, npy "
        "or an index of faiss",
    )
    postgres: str | None = Field(
        None,
        description="Address of a database with pgvector, such as postgresql://shop@db.example/shop, without password: "
        "that is taken from PGPASSWORD or ~/.pgpass",
    )
    schema_name: str = Field(
        "rlmrec",
        pattern="^[a-z_][a-z0-9_]{0,62}$",
        description="Schema of the tables in Postgres; one data set in each",
    )

    @field_validator("postgres")
    @classmethod
    def _holds_no_password(cls, address: str | None) -> str | None:
        if address is None:
            return None
        if not address.startswith(("postgresql://", "postgres://")):
            raise ValueError("an address begins with postgresql://")
        at = address.rpartition("@")[0].partition("://")[2]
        if (":" in at and at.partition(":")[2]) or "password=" in address.lower():
            raise ValueError("an address must hold no password: set PGPASSWORD, or write ~/.pgpass")
        return address
