"""Reading what train and prepare wrote, for the stages that rank."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import safetensors.torch
from torch import Tensor

from rlmrec_core.config.training import RunSettings
from rlmrec_core.model_id import ModelId
from rlmrec_core.models import learnt_from
from rlmrec_core.profiling import SplitLeakage
from rlmrec_core.split import Split, pair_keys
from rlmrec_core.tables import vectors_of
from rlmrec_core.vectors import SemanticEmbeddings, Vectors
from storage import ArtifactRef, ArtifactStore, StoreError

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


def started_from(artifacts: ArtifactStore, settings: RunSettings) -> ArtifactRef | None:
    """The model whose embeddings a run starts from. Raises StoreError if there is none, or several, of that key."""
    if settings.start_from is None:
        return None
    found = [ref for ref in artifacts.refs() if ref.stage == "train" and ref.key.startswith(settings.start_from)]
    if len(found) != 1:
        raise StoreError(
            f"train.start_from={settings.start_from}: {len(found) or 'no'} models of {artifacts.url} have this key; "
            "rlmrec artifacts list train shows them"
        )
    return found[0]


def starting_table(artifacts: ArtifactStore, model: ArtifactRef, prepare: ArtifactRef, *, blind: bool) -> Vectors:
    """The embeddings of a model's id table for the users and items of other data, NaN where it knows none of that id.

    blind: what is held out of these data must be unknown to the model. Where it knows a few such pairs, since its data
    were divided a little differently, both ends of each start afresh. Raises StoreError if the model has no such table,
    or knows nobody and nothing of these data, and SplitLeakage if it knows more than a few.
    """
    loaded = load_model(model)
    table = loaded.weights.get("backbone.table")
    if table is None:
        raise StoreError(f"{model} has no id embeddings to start from: name a model of another backbone")
    trained_on = ArtifactRef("prepare", artifacts.manifest(model).content.inputs["prepare"], artifacts.url)
    places = [_places(artifacts, side, trained_on, prepare) for side in ("user", "item")]
    if all((place < 0).all() for place in places):
        raise StoreError(f"{model} knows no user and no item of these data, so that nothing can start from it")
    theirs = load_split(artifacts, trained_on)
    if blind:
        _forget_held_out(model, learnt_from(theirs, loaded.settings), load_split(artifacts, prepare), places)
    sides = zip(places, np.split(table.numpy(), [theirs.n_users]), strict=True)
    return Vectors(*(np.where((place >= 0)[:, None], rows[place], np.float32(np.nan)) for place, rows in sides))


def with_earlier(
    artifacts: ArtifactStore, split: Split, prepare: ArtifactRef, settings: Iterable[RunSettings]
) -> Split:
    """The split of `prepare` with what its users had in the data of the models that these started from, in train.

    Pairs that are held out stay held out.
    """
    starts = filter(None, (started_from(artifacts, one) for one in settings))
    for key in dict.fromkeys(artifacts.manifest(start).content.inputs["prepare"] for start in starts):
        theirs = ArtifactRef("prepare", key, artifacts.url)
        had = load_split(artifacts, theirs).all_in_train().train
        # Their numbers of ours turned round.
        ours = [_places(artifacts, side, prepare, theirs) for side in ("user", "item")]
        user, item = (places[side] for places, side in zip(ours, had, strict=True))
        both = (user >= 0) & (item >= 0)
        split = split.knowing(user[both], item[both])
    return split


def _places(artifacts: ArtifactStore, side: str, theirs: ArtifactRef, ours: ArtifactRef) -> npt.NDArray[np.int64]:
    """The number that each of our users or items has in theirs, -1 where they do not know it, (n,)."""
    known, wanted = (
        artifacts.table(prepare, f"{side}_index").sort_by(side)[f"{side}_id"].combine_chunks()
        for prepare in (theirs, ours)
    )
    found: npt.NDArray[np.int64] = pc.index_in(wanted, known).fill_null(-1).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


_FEW = 0.01
"""Share of the held-out pairs that a model may know to be started from."""


def _forget_held_out(model: ArtifactRef, theirs: Split, ours: Split, places: Sequence[npt.NDArray[np.int64]]) -> None:
    """Take the users and items of held-out pairs that `theirs` has in train out of `places`."""
    held_out = [np.concatenate(sides) for sides in zip(ours.validation, ours.test, strict=True)]
    users, items = (place[side] for place, side in zip(places, held_out, strict=True))
    learnt = np.isin(pair_keys(users, items, theirs.n_items), pair_keys(*theirs.train, theirs.n_items))
    learnt &= (users >= 0) & (items >= 0)
    n = np.count_nonzero(learnt)
    if n > _FEW * len(learnt):
        raise SplitLeakage(
            f"{model} has learnt from {n:,} of the {len(learnt):,} interactions that are held out here, so that what "
            "starts from it cannot be measured: start from one whose data hold none of them"
        )
    for place, side in zip(places, held_out, strict=True):
        place[side[learnt]] = -1
