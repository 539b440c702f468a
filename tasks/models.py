"""Reading what train and prepare wrote, for the stages that rank."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import safetensors.torch
from torch import Tensor

from rlmrec_core.config.training import RunSettings
from rlmrec_core.model_id import ModelId
from rlmrec_core.profiling import SplitLeakage
from rlmrec_core.split import Split
from rlmrec_core.tables import vectors_of
from rlmrec_core.vectors import SemanticEmbeddings, Vectors
from storage import ArtifactRef, ArtifactStore

SETTINGS, WEIGHTS = "settings.json", "weights.safetensors"
"""Files of a train artifact beside its tables."""


def load_split(artifacts: ArtifactStore, prepare: ArtifactRef) -> Split:
    """The divided interactions as arrays."""
    n_users = artifacts.dataset(prepare, "user_index").count_rows()
    n_items = artifacts.dataset(prepare, "item_index").count_rows()
    return Split.from_table(artifacts.table(prepare, "split", ["user", "item", "part"]), n_users, n_items)


def load_semantic(artifacts: ArtifactStore, embed: ArtifactRef) -> SemanticEmbeddings:
    """The vectors of the profiles."""
    users, items = (vectors_of(artifacts.table(embed, side)) for side in ("users", "items"))
    return SemanticEmbeddings(users=users, items=items)


def embed_of(artifacts: ArtifactStore, models: Iterable[ArtifactRef]) -> ArtifactRef | None:
    """The vectors of profiles that these models were aligned with; None if there are none, or not the same for all."""
    inputs = [artifacts.manifest(model).content.inputs for model in models]
    keys = {found["embed"] for found in inputs if "embed" in found}
    return ArtifactRef("embed", keys.pop(), artifacts.url) if len(keys) == 1 else None


def check_made_of(artifacts: ArtifactStore, embed: ArtifactRef, prepare: ArtifactRef) -> None:
    """Raise SplitLeakage unless these vectors were made of the train part of this data, and of nothing else."""
    if artifacts.manifest(embed).content.inputs["prepare"] != prepare.key:
        raise SplitLeakage(
            f"{embed} was made of other interactions than the train part of {prepare}, which nothing that is measured "
            "may read: embed profiles of this data"
        )


def semantic_of(artifacts: ArtifactStore, models: Iterable[ArtifactRef]) -> SemanticEmbeddings | None:
    """What `embed_of` finds, as vectors."""
    found = embed_of(artifacts, models)
    return load_semantic(artifacts, found) if found else None


def model_settings(artifacts: ArtifactStore, model: ArtifactRef) -> RunSettings:
    """What a model was trained with, every default of that time included."""
    return RunSettings.model_validate_json(artifacts.read_bytes(model, SETTINGS))


def role_of(model: ModelId) -> str:
    """The name under which evaluate's manifest lists a model among its inputs."""
    return "/".join(map(str, ("train", *model)))


@dataclass(frozen=True)
class Model:
    """A trained model as it was saved."""

    id: ModelId
    settings: RunSettings
    vectors: Vectors
    weights: dict[str, Tensor]


def load_model(model: ArtifactRef | str | Path) -> Model:
    """A trained model, from its reference or the folder of its artifact.

    Raises StoreError if there is no such model.
    """
    if not isinstance(model, ArtifactRef):
        folder = Path(model).absolute()
        model = ArtifactRef(folder.parent.name, folder.name, str(folder.parent.parent))
    artifacts = ArtifactStore(model.url)
    settings = model_settings(artifacts, model)
    weights = safetensors.torch.load(artifacts.read_bytes(model, WEIGHTS))
    return Model(settings.model_id, settings, load_vectors(artifacts, model), weights)


def load_vectors(artifacts: ArtifactStore, model: ArtifactRef) -> Vectors:
    """User and item vectors of a model; its score is their dot product."""
    return Vectors(
        users=vectors_of(artifacts.table(model, "user_vectors")),
        items=vectors_of(artifacts.table(model, "item_vectors")),
    )


def titles_of(artifacts: ArtifactStore, prepare: ArtifactRef, item_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The titles of these items, null where the data have none."""
    ingest = ArtifactRef("ingest", artifacts.manifest(prepare).content.inputs["ingest"], prepare.url)
    items = artifacts.table(ingest, "items", ["item_id", "title"])
    return items["title"].take(pc.index_in(item_ids, items["item_id"]))
