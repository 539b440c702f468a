"""RLMRec's data in the form in which its authors publish them, made up."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

WIDTH = 6


def write_release(
    folder: Path, n_users: int = 30, n_items: int = 24, seed: int = 0, protocol: int = 4, form: str = "coo"
) -> Path:
    """Users and items of two tastes; every user has train, validation and test items, every item a train user.

    form: of the matrices, as SciPy calls it.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[tuple[int, int]]] = {"trn": [], "val": [], "tst": []}
    for user in range(n_users):
        liked = rng.permutation([item for item in range(n_items) if item % 2 == user % 2])[:8]
        parts["trn"] += [(user, int(item)) for item in liked[:6]]
        parts["val"].append((user, int(liked[6])))
        parts["tst"].append((user, int(liked[7])))
    held_out = {pair for name in ("val", "tst") for pair in parts[name]}
    parts["trn"] += [pair for item in range(n_items) if (pair := (item % 2, item)) not in {*parts["trn"], *held_out}]
    for name, pairs in parts.items():
        row, col = np.array(pairs).T
        matrix = sp.coo_matrix((np.ones(len(pairs)), (row, col)), shape=(n_users, n_items))
        write(folder / f"{name}_mat.pkl", matrix.asformat(form), protocol)
    for short, n in (("usr", n_users), ("itm", n_items)):
        taste = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)[:, None]
        write(folder / f"{short}_emb_np.pkl", taste + 0.3 * rng.normal(size=(n, WIDTH)), protocol)
        profiles = {
            number: {"profile": f"Likes {['day', 'night'][number % 2]} {number}.", "reasoning": "Told by the items."}
            for number in range(n)
        }
        write(folder / f"{short}_prf.pkl", profiles, protocol)
    return folder


def write(file: Path, value: Any, protocol: int = 4) -> Path:
    file.write_bytes(pickled(value, protocol))
    return file


def pickled(value: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol)
