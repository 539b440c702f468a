"""How good lists of new items are: a tenth of the items held out of a data set with ready-made parts.

Usage: python -m tests.benchmarks.cold_start FOLDER [--share 0.1 --work FOLDER --set ...]

FOLDER has the layout of the reader `splits`. A copy without any interaction of the held-out items goes through the
pipeline with embed.new_items; who took them is then compared with everybody's list of new items.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlmrec_core.config import load_config
from rlmrec_core.ranking.cold_start import ColdItems, measure_items
from storage import ArtifactStore, StoreConfig
from tasks.cold_start import new_item_vectors
from tasks.models import load_semantic, load_split, load_vectors, model_settings
from tasks.stages import run_by_hand

PARTS = ("train", "validation", "test")


def held_out(folder: Path, share: float, target: Path) -> pa.Table:
    """Copy the data to `target` without the held-out items' interactions; those are returned."""
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.parquet"):
        if file.stem not in PARTS:
            shutil.copy(file, target / file.name)
    parts = {part: pq.read_table(folder / f"{part}.parquet") for part in PARTS}
    items = sorted({item for table in parts.values() for item in table["item"].to_pylist()})
    cold = pa.array(np.random.default_rng(2023).permutation(items)[: int(share * len(items))])
    for part, table in parts.items():
        pq.write_table(table.filter(pc.invert(pc.is_in(table["item"], cold))), target / f"{part}.parquet")
    taken = pa.concat_tables(
        table.filter(pc.is_in(table["item"], cold)).select(["user", "item"]) for table in parts.values()
    )
    return taken.cast(pa.schema([("user", pa.string()), ("item", pa.string())]))


def main() -> None:
    """Run the pipeline without the held-out items, and print Recall@20 among them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--backbones", nargs="+", default=["lightgcn"])
    parser.add_argument("--variants", nargs="+", default=["base", "con"])
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    cold = held_out(arguments.folder, arguments.share, work / "data")
    chosen = {"backbones": arguments.backbones, "variants": arguments.variants}
    profiles = {"generator": "imported"}
    overrides = {
        "ingest": {"path": str(work / "data")},
        "item_profiles": profiles,
        "user_profiles": profiles if (work / "data" / "user_profiles.parquet").exists() else {},
        "embed": {"new_items": True},
        "train": chosen,
    }
    store = StoreConfig(url=str(work / "artifacts"))
    done = run_by_hand(load_config(dataset="splits", overrides=overrides), store, last="train")
    artifacts = ArtifactStore.open(store)
    prepare, embed = done["prepare"][0].ref, done["embed"][0].ref
    ids, vectors = new_item_vectors(artifacts, embed)
    users = artifacts.table(prepare, "user_index")["user_id"].combine_chunks()
    user, item = (
        pc.index_in(cold["user"], users).fill_null(-1).to_numpy(),
        pc.index_in(cold["item"], pa.array(ids)).fill_null(-1).to_numpy(),
    )
    rows = (user >= 0) & (item >= 0)
    of_items = ColdItems(vectors, user[rows].astype(np.int32), item[rows].astype(np.int32))
    models = {
        model_settings(artifacts, one.ref).model_id.label: load_vectors(artifacts, one.ref) for one in done["train"]
    }
    split = load_split(artifacts, prepare)
    measured = measure_items(split, of_items, models, load_semantic(artifacts, embed), (20,)).to_pylist()
    print(f"{len(vectors)} of {len(vectors) + split.n_items} items held out, {measured[0]['users']} users took some")
    for row in measured:
        print(f"{row['label']:20} Recall@{row['k']} {row['recall']:.4f}")


if __name__ == "__main__":
    main()
