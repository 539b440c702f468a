"""Semantic vectors that came with the data, in the place of an encoder's."""

import hashlib
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config.text import EmbedConfig
from rlmrec_core.data import DataError
from rlmrec_core.data.errors import printable
from rlmrec_core.embedding.embed import EmbedResult, result_of_vectors
from rlmrec_core.tables import IMPORTED_VECTORS, check, item_vectors_table
from rlmrec_core.vectors import Float32Array, unit_rows

if TYPE_CHECKING:  # it brings the clients of model servers, which no encoder of one's own needs
    from rlmrec_core.profiling.corpus import TrainCorpus

_SHOWN = 80
"""Characters of an id that an error shows."""


def embed_imported(corpus: "TrainCorpus", items: pa.Table, users: pa.Table | None, config: EmbedConfig) -> EmbedResult:
    """Unit vectors of every item and user from those imported under their ids; see `embed` for who has none.

    What they were made of is not known here: whether anything of the held-out parts went into them is their maker's
    to say.

    Args:
        corpus: The train interactions.
        items: IMPORTED_VECTORS of items; those of unknown items are left aside.
        users: The same of users, None where there are none.
        config: Its user_vectors says whether users' own vectors are taken.

    Raises:
        DataError: The vectors are not all of one length, an id occurs twice, or none of the ids is known.
    """
    started = time.monotonic()
    _check_known(items, corpus.item_ids, "item")
    item_vectors = _of(items, corpus.item_ids, "item")
    user_vectors = np.zeros((corpus.n_users, item_vectors.shape[1]), np.float32)
    if users is not None and config.user_vectors == "profile":
        _check_known(users, corpus.user_ids, "user")
        user_vectors = _of(users, corpus.user_ids, "user")
    if user_vectors.shape[1] != item_vectors.shape[1]:
        raise DataError.at(
            f"the imported vectors of users have {user_vectors.shape[1]} components, those of items "
            f"{item_vectors.shape[1]}",
            "import vectors of one model",
        )
    digest = hashlib.sha256(item_vectors.tobytes() + user_vectors.tobytes()).hexdigest()
    report = {"vectors": len(items) + (0 if users is None else len(users))}
    return result_of_vectors(corpus, item_vectors, user_vectors, ("imported", digest), report, started)


def new_imported(corpus: "TrainCorpus", items: pa.Table) -> pa.Table:
    """Unit vectors of items that nobody took yet: (item_id, vector), those without an imported vector left out."""
    vectors = _of(items, corpus.item_ids, "item")
    present = vectors.any(axis=1)
    return item_vectors_table(corpus.item_ids.filter(pa.array(present)).to_pylist(), vectors[present])


def _check_known(imported: pa.Table, ids: pa.Array, side: str) -> None:
    """Raises DataError where there are vectors, and all are of others than the data's."""
    if len(imported) and not pc.any(pc.is_in(ids, imported["id"].combine_chunks())).as_py():
        theirs, ours = (printable(one.as_py()[:_SHOWN]) for one in (imported["id"][0], ids[0]))
        raise DataError.at(
            f"none of the imported vectors of {side}s has the id of one: theirs are such as {theirs!r}, those of the "
            f"data such as {ours!r}",
            "write the vectors with the ids of the data",
        )


def _of(imported: pa.Table, ids: pa.Array, side: str) -> Float32Array:
    """The unit vector of every id, (n, d); zeros where there is none."""
    table = check(imported, IMPORTED_VECTORS, f"imported vectors of {side}s").combine_chunks()
    known = table["id"].combine_chunks()
    if pc.count_distinct(known).as_py() < len(known):
        counts = pc.value_counts(known)
        example = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
        problem = f"some ids occur twice among the imported vectors of {side}s, such as {printable(example[:_SHOWN])!r}"
        raise DataError.at(problem, "keep one vector for each id")
    lengths = pc.unique(pc.list_value_length(table["vector"])).to_pylist()
    if len(lengths) != 1 or not lengths[0]:
        said = "are none" if not lengths else f"have lengths from {min(lengths)} to {max(lengths)}"
        raise DataError.at(f"the imported vectors of {side}s {said}", "import vectors of one model")
    matrix = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, lengths[0])
    places = pc.index_in(ids, known).fill_null(-1).to_numpy(zero_copy_only=False)
    found = np.where((places >= 0)[:, None], matrix[places], np.float32(0))
    return unit_rows(found)
