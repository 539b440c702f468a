"""The results of the last full run in pandas: models compared, lists with titles, items that are alike.

Usage: .venv/bin/python examples/read_results.py [folder of the artifacts]

Needs nothing of rlmrec: artifacts are Parquet and JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


class Results:
    """What the last full run left in a store (a local folder)."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.run = json.loads((store / "last-run.json").read_text(encoding="utf-8"))
        if not self.run["recommendations"]:
            raise SystemExit(f"the last run wrote no lists: {self.run['message']}")
        self.keys = {stage["stage"]: stage["key"] for stage in self.run["stages"]}

    def table(self, stage: str, name: str, key: str | None = None) -> pd.DataFrame:
        """A table of a stage's artifact."""
        return pd.read_parquet(self.store / stage / (key or self.keys[stage]) / f"{name}.parquet")

    def comparison(self) -> pd.DataFrame:
        """Test metrics, mean over seeds: a row for each model."""
        metrics = pd.DataFrame(self.run["metrics"]).query("part == 'test'")
        metrics["metric"] = metrics["metric"] + "@" + metrics["k"].astype(str)
        return metrics.pivot_table(index=["label", "backbone", "variant"], columns="metric", values="value")

    def lists(self) -> pd.DataFrame:
        """Every user's list, best first, with the items' titles."""
        return self.table("recommend", "recommendations")

    def item_vectors(self) -> pd.DataFrame:
        """The vectors of the model that made the lists, one row for each item id."""
        manifest = self.store / "recommend" / self.keys["recommend"] / "manifest.json"
        model = json.loads(manifest.read_text(encoding="utf-8"))["content"]["inputs"]["train"]
        vectors = self.table("train", "item_vectors", model)
        ids = self.table("prepare", "item_index").set_index("item")["item_id"]
        return pd.DataFrame(np.stack(vectors["vector"]), index=ids.loc[vectors["id"]])

    def similar(self, item_id: str, k: int = 5) -> pd.Series:
        """The k items whose vectors point the same way, with the cosine."""
        vectors = self.item_vectors()
        unit = vectors.div(np.linalg.norm(vectors, axis=1), axis=0)
        return (unit @ unit.loc[item_id]).drop(item_id).nlargest(k)


def main(store: Path) -> None:
    """Print a little of everything."""
    results = Results(store)
    accuracy = results.comparison().filter(regex="recall|ndcg")
    print("How good the models are, on test:", accuracy.round(4).to_string(), sep="\n")
    lists = results.lists()
    first = lists["user_id"].iloc[0]
    print(f"\nFor {first}:", lists[lists["user_id"] == first].to_string(index=False), sep="\n")
    best = lists["item_id"].iloc[0]
    titles = results.table("ingest", "items").set_index("item_id")["title"]
    print(f"\nLike {titles[best]}:")
    for item_id, cosine in results.similar(best).items():
        print(f"  {cosine:.2f}  {titles[item_id]}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts"))
