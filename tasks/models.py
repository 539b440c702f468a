"""Reading what train and prepare wrote, for the stages that rank."""

from collections.abc import Iterable

from rlmrec_core.ranking import ModelName
from rlmrec_core.split import Split
from rlmrec_core.tables import vectors_of
from rlmrec_core.vectors import SemanticEmbeddings, Vectors
from storage import ArtifactRef, ArtifactStore


def load_split(artifacts: ArtifactStore, prepare: ArtifactRef) -> Split:
    """The divided interactions as arrays."""
    n_users = artifacts.dataset(prepare, "user_index").count_rows()
    n_items = artifacts.dataset(prepare, "item_index").count_rows()
    return Split.from_table(artifacts.table(prepare, "split", ["user", "item", "part"]), n_users, n_items)


def load_semantic(artifacts: ArtifactStore, embed: ArtifactRef) -> SemanticEmbeddings:
    """The vectors of the profiles."""
    users, items = (vectors_of(artifacts.table(embed, side)) for side in ("users", "items"))
    return SemanticEmbeddings(users=users, items=items)


def semantic_of(artifacts: ArtifactStore, models: Iterable[ArtifactRef]) -> SemanticEmbeddings | None:
    """The vectors that these models were aligned with; None if there are none, or not the same for all."""
    inputs = [artifacts.manifest(model).content.inputs for model in models]
    keys = {found["embed"] for found in inputs if "embed" in found}
    return load_semantic(artifacts, ArtifactRef("embed", keys.pop(), artifacts.url)) if len(keys) == 1 else None


def model_name(artifacts: ArtifactStore, model: ArtifactRef) -> ModelName:
    """Backbone, variant and seed of a model, from its manifest."""
    settings = artifacts.manifest(model).content.config
    return ModelName(*(settings[name] for name in ModelName._fields))


def role_of(model: ModelName) -> str:
    """The name under which evaluate's manifest lists a model among its inputs."""
    return f"train/{model.backbone}/{model.variant}/{model.seed}"


def load_vectors(artifacts: ArtifactStore, model: ArtifactRef) -> Vectors:
    """User and item vectors of a model; its score is their dot product."""
    return Vectors(
        users=vectors_of(artifacts.table(model, "user_vectors")),
        items=vectors_of(artifacts.table(model, "item_vectors")),
    )
