"""How good lists from a text are: everybody's list from their profile alone, their own vector left out of the map.

Usage: python -m tests.benchmarks.texts STORE [--name DATA_SET]

STORE has a full run. The users are dealt into ten folds; the map from texts to the model's space is learnt from nine of
them and places the profiles of the tenth, which are made of train interactions alone. What is held out for test is then
looked for in the lists that follow. Beside it stand the users' own vectors, the text alone, and popularity.
"""

import argparse

import numpy as np

from rlmrec_core.ranking.cold_start import TextMap
from rlmrec_core.split import Split
from rlmrec_core.vectors import Float32Array, unit_rows
from storage import ArtifactRef, ArtifactStore
from tasks import datasets
from tasks.models import embed_of, load_semantic, load_split, load_vectors, model_settings

FOLDS, K = 10, 20


def recall(split: Split, users: Float32Array, items: Float32Array) -> float:
    """Mean Recall@20 on test over users with test items; what is known of train and validation is left out."""
    shares = []
    for user in np.unique(split.test.user):
        scores = items @ users[user]
        for part in (split.train, split.validation):
            scores[part.item[part.user == user]] = -np.inf
        wanted = split.test.item[split.test.user == user]
        shares.append(np.isin(wanted, np.argsort(-scores)[:K]).mean())
    return float(np.mean(shares))


def from_texts(said: Float32Array, learnt: Float32Array, taken: np.ndarray) -> Float32Array:
    """Where the map puts everybody that was learnt without them."""
    fold = np.random.default_rng(2023).integers(0, FOLDS, len(said))
    placed = np.zeros_like(learnt)
    for out in range(FOLDS):
        others = TextMap.learn(said[fold != out], learnt[fold != out], taken[fold != out])
        assert others is not None, "too few users have a profile"
        placed[fold == out] = others.place(said[fold == out])
    return placed


def main() -> None:
    """Print a line for each model and each baseline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--name")
    arguments = parser.parse_args()
    artifacts = ArtifactStore(arguments.store)
    keys = datasets.latest_keys(artifacts, datasets.chosen(artifacts, arguments.name))
    split = load_split(artifacts, ArtifactRef("prepare", keys["prepare"][0], artifacts.url))
    models = [ArtifactRef("train", key, artifacts.url) for key in keys["train"]]
    embed = embed_of(artifacts, models)
    assert embed is not None, "the run embedded no profiles"
    semantic, taken = load_semantic(artifacts, embed), np.bincount(split.train.user, minlength=split.n_users)
    popularity = split.train_popularity().astype(np.float32)
    rows = {
        "popularity": recall(split, np.ones((split.n_users, 1), np.float32), popularity[:, None]),
        "text alone": recall(split, unit_rows(semantic.users), unit_rows(semantic.items)),
    }
    for ref in models:
        vectors, label = load_vectors(artifacts, ref), model_settings(artifacts, ref).model_id.label
        rows[f"{label}, placed by text"] = recall(
            split, from_texts(semantic.users, vectors.users, taken), vectors.items
        )
        rows[f"{label}, own vectors"] = recall(split, *vectors)
    print(f"{split.n_users:,} users, {split.n_items:,} items, Recall@{K} on test")
    for label, value in rows.items():
        print(f"{label:30} {value:.4f}")


if __name__ == "__main__":
    main()
