"""Why each item stands in each list, as a table."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from rlmrec_core.explain import Evidence, sentence
from rlmrec_core.tables import REASONS
from storage import ArtifactRef, ArtifactStore
from tasks.models import embed_of, load_semantic

_BATCH = 16_384


def meaning(artifacts: ArtifactStore, models: Collection[ArtifactRef]) -> dict[str, Any]:
    """The profiles of users and items with their vectors, by the names that `evidence` gives them.

    Empty if none of the models was aligned with any, or they were with several.
    """
    embed = embed_of(artifacts, models)
    if embed is None:
        return {}
    written = artifacts.manifest(embed).content.inputs
    texts = {
        f"{side}_texts": profile_texts(artifacts, ArtifactRef(role, written[role], artifacts.url))
        for side, role in (("user", "user_profiles"), ("item", "item_profiles"))
    }
    return {"semantic": load_semantic(artifacts, embed), **texts}


def profile_texts(artifacts: ArtifactStore, profiles: ArtifactRef) -> list[str | None]:
    """What the profiles say, by id; None where there is none."""
    table = artifacts.table(profiles, "profiles", ["id", "summarization"]).sort_by("id")
    found: list[str | None] = table["summarization"].to_pylist()
    return found


def reasons_batches(
    found: Iterable[Evidence], user_ids: Sequence[str], item_ids: Sequence[str], titles: Sequence[str | None]
) -> Iterator[pa.RecordBatch]:
    """Rows of REASONS, each with its sentence; never all of them in memory."""
    names = [title or item_id for title, item_id in zip(titles, item_ids, strict=True)]
    rows = (
        {
            "user_id": user_ids[one.user],
            "rank": one.rank,
            "item_id": item_ids[one.item],
            "behaviour_item_id": item_ids[one.behaviour.item] if one.behaviour else None,
            "behaviour_cosine": one.behaviour.cosine if one.behaviour else None,
            "text_item_id": item_ids[one.text.item] if one.text else None,
            "text_cosine": one.text.cosine if one.text else None,
            "words": list(one.words),
            "sentence": sentence(one, names),
        }
        for one in found
    )
    while batch := list(islice(rows, _BATCH)):
        yield pa.RecordBatch.from_pylist(batch, REASONS)
