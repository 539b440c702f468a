"""How good profiles are, as a page for people: figures with what they mean, and a few profiles to read."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage import ArtifactRef, ArtifactStore
from tasks import report
from tasks.models import titles_of

_MEANINGS = {
    "profiles": "how many there are",
    "share_none": "share of all who have none, since there was nothing to write from or the model failed",
    "words": "how long they are: 5 % are shorter than p5, half than p50, 5 % longer than p95",
    "share_double": "share of profiles that somebody else has, too; high means that they tell little apart",
    "share_english": "share that reads as English; other languages are fine where your data are in them",
    "grounding": "share of a profile's words that its source holds: p5 of a model that makes things up is low",
}


def show_audit(stage: str, artifacts: ArtifactStore, prepare: ArtifactRef, figures: Mapping[str, Any]) -> None:
    """Show the figures of `rlmrec_core.profiling.audit` for the stage's profiles of `prepare`."""
    side = stage.removesuffix("_profiles")
    sample = figures.get("sample", [])
    names = _names(artifacts, prepare, side, [row["id"] for row in sample])
    rows = [
        {"figure": name.replace("_", " "), "value": _value(figures[name]), "meaning": meaning}
        for name, meaning in _MEANINGS.items()
        if name in figures
    ]
    texts = [
        f"**{report.as_text(name)}**\n\n{_quoted(row['profile'])}" for name, row in zip(names, sample, strict=True)
    ]
    page = "\n\n".join([report.markdown_table(rows), "### A few to read", *texts])
    report.show_markdown(f"{stage}-audit", page, f"How good the profiles of {side}s are, and a few to read")


def _names(artifacts: ArtifactStore, prepare: ArtifactRef, side: str, numbers: Sequence[int]) -> list[str]:
    """The original ids, and of items the titles."""
    index = artifacts.table(prepare, f"{side}_index")
    ids = index[f"{side}_id"].take(pc.index_in(pa.array(numbers, pa.int32()), index[side]))
    if side == "user":
        return [f"user {name}" for name in ids.to_pylist()]
    titles = titles_of(artifacts, prepare, ids).to_pylist()
    return [
        f"item {name}: {title}" if title else f"item {name}"
        for name, title in zip(ids.to_pylist(), titles, strict=True)
    ]


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {inner:g}" for name, inner in value.items())
    return f"{value:.1%}" if isinstance(value, float) else value


def _quoted(text: str) -> str:
    """The text as a quotation."""
    return "\n".join(f"> {report.as_text(line)}" for line in text.splitlines()) or "> "
