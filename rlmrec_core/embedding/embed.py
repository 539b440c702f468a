"""From profiles to semantic vectors of all items and users."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from rlmrec_core.config.text import EmbedConfig
from rlmrec_core.embedding.encoder import DivisibleEncoder, Encoder
from rlmrec_core.embedding.neighbours import neighbours
from rlmrec_core.embedding.texts import Texts, item_texts, user_texts
from rlmrec_core.shard import Workplace
from rlmrec_core.tables import item_vectors_table, vectors_table
from rlmrec_core.vectors import Float32Array, unit_rows

if TYPE_CHECKING:  # it brings the clients of model servers, which no encoder of one's own needs
    from rlmrec_core.profiling.corpus import TrainCorpus


@dataclass(frozen=True)
class EmbedResult:
    """items, users: (id, vector) by id, with encoder, digest and split_hash in the schema's metadata.

    report: encoder, counts of texts, of missing ones and what was done about them, tokens, seconds, neighbours and what
    a server took; plain JSON. unfinished: how many texts another run may embed, and why; None if none.
    """

    items: pa.Table
    users: pa.Table
    report: dict[str, Any]
    unfinished: str | None = None


def embed(
    corpus: "TrainCorpus",
    item_profiles: pa.Table,
    user_profiles: pa.Table,
    config: EmbedConfig,
    place: Workplace,
) -> EmbedResult:
    """Unit vectors of every item and user, float32.

    A user without a text takes the normalised mean of the train items' vectors, as all users do with user_vectors =
    item_mean. An item without a text, or a user whose items have none either, keeps a zero row: it stands for "no
    semantics", and alignment leaves it out. So does whoever's text could not be embedded. The report counts all.
    Equal texts are embedded once.

    Args:
        corpus: The train interactions and the items' texts.
        item_profiles: PROFILES of the items.
        user_profiles: PROFILES of the users.
        config: Which encoder, and which text it reads.
        place: The ledger. Its `joined` is what `embed_shard` made of the same texts.

    Raises:
        SplitLeakage: The profiles were written from another split.
        MissingSetting: The encoder's model or key is not set.
    """
    started = time.monotonic()
    config = config.resolved()
    item_text, user_text = _texts(corpus, item_profiles, user_profiles, config)
    encoder = open_encoder(config, place)
    distinct = _distinct(item_text, user_text)
    encoded = encoder.encode(distinct, place.progress)
    row_of = {text: row for row, text in enumerate(distinct)}
    items, users = (_gather(texts, row_of, encoded.vectors) for texts in (item_text, user_text))
    report = {
        "texts": len(distinct),
        "tokens": encoded.tokens,
        "truncated": encoded.truncated,
        "texts_failed": encoded.failed,
        "items_without_text": item_text.count(None),
    }
    result = result_of_vectors(corpus, items, users, (encoder.name, encoder.digest), report, started)
    lacking = f"{encoded.failed} of {len(distinct)} texts got no vector: {encoded.why}"
    unfinished = lacking if encoded.failed else None
    return replace(result, report=result.report | encoder.report(), unfinished=unfinished)


def result_of_vectors(
    corpus: "TrainCorpus",
    items: Float32Array,
    users: Float32Array,
    encoder: tuple[str, str],
    report: dict[str, Any],
    started: float,
) -> EmbedResult:
    """The result with these unit vectors; a user who has none takes the mean of the train items'.

    encoder: name and digest of what made them; report: what else is to be told of it; started: by the monotonic clock.
    """
    name, digest = encoder
    without = ~users.any(axis=1)
    users[without] = _item_means(corpus, items)[without]
    told = {
        "encoder": name,
        "size": items.shape[1],
        **report,
        "items_without_vector": int((~items.any(axis=1)).sum()),
        "users_from_items": int((without & users.any(axis=1)).sum()),
        "users_without_vector": int((~users.any(axis=1)).sum()),
        "neighbours": neighbours(corpus, items),
        "seconds": round(time.monotonic() - started, 3),
    }
    metadata = {"encoder": name, "digest": digest, "split_hash": corpus.split_hash}
    item_table, user_table = (vectors_table(vectors).replace_schema_metadata(metadata) for vectors in (items, users))
    return EmbedResult(item_table, user_table, told)


def embed_shard(
    corpus: "TrainCorpus",
    item_profiles: pa.Table,
    user_profiles: pa.Table,
    config: EmbedConfig,
    place: Workplace,
) -> tuple[pa.Table | None, dict[str, Any]]:
    """The shard of `place` of what `embed` with the same arguments has to do: vectors to be joined, and a report.

    None instead of vectors where they are in the ledger. Only the work of minilm and of a server is divided.
    """
    config = config.resolved()
    texts = _distinct(*_texts(corpus, item_profiles, user_profiles, config))
    encoder = _shard_encoder(config, place)
    return encoder.encode_shard(texts, place.shard, place.progress), encoder.report()


def _texts(
    corpus: "TrainCorpus", item_profiles: pa.Table, user_profiles: pa.Table, config: EmbedConfig
) -> tuple[Texts, Texts]:
    """The text of every item and of every user."""
    from rlmrec_core.profiling.profiles import summarizations  # with it come the clients of model servers

    items = item_texts(corpus, summarizations(item_profiles, corpus), config.embed_source)
    if config.user_vectors == "item_mean":
        return items, [None] * corpus.n_users
    return items, user_texts(corpus, summarizations(user_profiles, corpus), config.embed_source)


def _distinct(items: Texts, users: Texts) -> list[str]:
    return sorted({text for text in [*items, *users] if text})


def open_encoder(config: EmbedConfig, place: Workplace) -> Encoder:
    """The encoder that resolved settings name; imported here, because loading their libraries takes seconds."""
    if config.encoder == "minilm":
        from rlmrec_core.embedding.minilm import MiniLM

        return MiniLM(config.batch_tokens, joined=place.joined, device=config.device, bf16=config.bf16)
    if config.encoder == "sentence-transformers":
        from rlmrec_core.embedding.named import NamedEncoder

        return NamedEncoder(str(config.model), config.device)
    if config.encoder == "tfidf":
        from rlmrec_core.embedding.tfidf import HashedTfidf

        return HashedTfidf()
    return _shard_encoder(config, place)


def _shard_encoder(config: EmbedConfig, place: Workplace) -> DivisibleEncoder:
    """The encoder of one of several processes; each computes on one core."""
    if config.encoder == "minilm":
        from rlmrec_core.embedding.minilm import MiniLM

        return MiniLM(config.batch_tokens, workers=1, device=config.device, bf16=config.bf16)
    from rlmrec_core.embedding.remote import RemoteEncoder

    return RemoteEncoder(config, place.ledger, place.account, place.shard.at_once)


def _gather(texts: Texts, row_of: dict[str, int], vectors: Float32Array) -> Float32Array:
    found = np.zeros((len(texts), vectors.shape[1]), np.float32)
    has_text = [place for place, text in enumerate(texts) if text]
    found[has_text] = vectors[[row_of[text] for text in texts if text]]
    return found


def _item_means(corpus: "TrainCorpus", items: Float32Array) -> Float32Array:
    """Normalised mean of the train items' vectors of each user, (n_users, d); zero where they have none."""
    shape = (corpus.n_users, corpus.n_items)
    seen = sp.csr_matrix((np.ones(len(corpus.users), np.float32), (corpus.users, corpus.items)), shape)
    return unit_rows(np.asarray(seen @ items))


def embed_new_items(
    corpus: "TrainCorpus", profiles: Sequence[str | None], config: EmbedConfig, place: Workplace
) -> pa.Table:
    """Unit vectors of items that nobody took yet: (item_id, vector), those without a text or a vector left out.

    Args:
        corpus: The new items' texts, without an interaction.
        profiles: The summarization of each, None where it has none.
        config: Which encoder, and which text it reads.
        place: The ledger.
    """
    config = config.resolved()
    texts = item_texts(corpus, profiles, config.embed_source)
    distinct = _distinct(texts, [])
    if not distinct:
        return item_vectors_table([], np.zeros((0, 1), np.float32))
    encoded = open_encoder(config, place).encode(distinct, place.progress)
    vectors = _gather(texts, {text: row for row, text in enumerate(distinct)}, encoded.vectors)
    present = vectors.any(axis=1)
    return item_vectors_table(corpus.item_ids.filter(pa.array(present)).to_pylist(), vectors[present])
