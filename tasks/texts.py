"""What people say of themselves: from a text to a place in a model's space, without a new training."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from rlmrec_core.config import EmbedConfig
from rlmrec_core.embedding import open_encoder
from rlmrec_core.embedding.encoder import Encoder
from rlmrec_core.ranking.cold_start import TextMap
from rlmrec_core.shard import Workplace
from rlmrec_core.split import Split
from rlmrec_core.tables import vectors_of, vectors_table
from rlmrec_core.vectors import Float32Array, Vectors
from storage import ArtifactRef, ArtifactStore
from tasks.models import load_semantic

TEXT_MAP = "text_map"
"""Table of a recommend artifact: the coefficients of `TextMap`, one row for each component, and last its intercept."""
LONGEST = 2_000
"""Characters of a text; encoders read little more."""
_EMBED = b"embed"


class NoTexts(LookupError):
    """A text cannot be placed among the items of these lists: says why, and the way out."""


def text_map(artifacts: ArtifactStore, embed: ArtifactRef | None, split: Split, vectors: Vectors) -> pa.Table:
    """The map from texts about people to a model's vectors of them; no rows where none can be learnt.

    embed: the vectors of profiles that it is learnt from; their key stands in the table's metadata.
    """
    learnt = None
    if embed:
        taken = np.bincount(split.train.user, minlength=split.n_users)
        learnt = TextMap.learn(load_semantic(artifacts, embed).users, vectors.users, taken)
    rows = np.zeros((0, vectors.users.shape[1]), np.float32) if learnt is None else np.vstack(learnt)
    return vectors_table(rows).replace_schema_metadata({_EMBED: embed.key} if embed and learnt else None)


@dataclass(frozen=True)
class Texts:
    """The encoder of a run's texts, with the map from its vectors to the model's space. Safe to share."""

    encoder: Encoder
    learnt: TextMap
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, lists: ArtifactRef) -> "Texts":
        """What the run that wrote these lists reads texts with. Raises NoTexts, and MissingSetting without a model."""
        artifacts = ArtifactStore(lists.url)
        table = artifacts.table(lists, TEXT_MAP)
        key = (table.schema.metadata or {}).get(_EMBED)
        if not key:
            raise NoTexts(
                "the run that wrote these lists embedded no profiles of people, so that it cannot place a text: train "
                "con, gen or another model that reads text among the models, and run again"
            )
        written = dict(artifacts.manifest(ArtifactRef("embed", key.decode(), lists.url)).content.config)
        written.pop("unfinished", None)
        config = EmbedConfig.model_validate(written)
        if config.encoder == "openai":
            raise NoTexts(
                f"the texts of these lists were embedded by the server of {config.model}, which is asked, and paid, by "
                "runs alone: lists from a text need an encoder of this machine (embed.encoder)"
            )
        if config.encoder == "imported":
            raise NoTexts(
                "the vectors of these lists came with the data, and what made them is not known here: lists from a "
                "text need an encoder of this machine (embed.encoder)"
            )
        if config.encoder == "tfidf":
            raise NoTexts(
                "the texts of these lists were embedded by counting the words of all of them, which places no other "
                "text: lists from a text need another encoder (embed.encoder)"
            )
        *coefficients, intercept = vectors_of(table)
        return cls(
            open_encoder(config.resolved(), Workplace(artifacts.ledger_path)),
            TextMap(np.stack(coefficients), intercept),
        )

    def place(self, text: str) -> Float32Array:
        """Where somebody stands who says this of themselves, (D,). Raises ValueError on a text without a word."""
        if not text.strip() or len(text) > LONGEST:
            raise ValueError(f"a text needs at least one word, and at most {LONGEST:,} characters")
        with self._one_at_a_time:
            encoded = self.encoder.encode([text], lambda done, total: None)
        place: Float32Array = self.learnt.place(encoded.vectors)[0]
        return place
