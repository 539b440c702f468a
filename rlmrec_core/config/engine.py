"""Settings of how stages are run. Artifacts do not depend on them, so they are part of no key."""

from typing import Literal

from pydantic import Field

from rlmrec_core.config.section import Section


class EngineConfig(Section):
    """Where the work is done: in this process, or by the workers of a Dask cluster (docs/distributed.md)."""

    kind: Literal["local", "dask"] = Field(
        "local",
        title="Engine",
        description="local: one after the other. dask: models, and shards of profiles and embeddings, side by side",
    )
    address: str | None = Field(
        None,
        title="Dask address",
        description="dask: the cluster's scheduler, such as tcp://10.0.0.5:8786; none starts a cluster on this machine",
    )
    workers: int | None = Field(
        None,
        ge=1,
        le=512,
        title="Workers",
        description="dask: tasks at once; none takes all threads of the cluster, on this machine one for each CPU core",
    )
    shards: int | None = Field(
        None,
        ge=1,
        le=200,
        title="Shards",
        description="dask: shards that profiles and embeddings are divided into; none: as many as workers",
    )
