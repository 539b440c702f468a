"""The gates of a run: after each stage its figures are held against the settings and the promoted run."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from rlmrec_core import gates
from rlmrec_core.config import PipelineConfig, RecommendConfig
from rlmrec_core.config.section import key_fields
from rlmrec_core.gates import Figure, Verdict, drift
from rlmrec_core.model_id import ModelId
from rlmrec_core.tables import vectors_of
from storage import ArtifactRef, ArtifactStore
from tasks import promotion, report
from tasks.drift import show_drift
from tasks.profiles import spent_on
from tasks.recommend import chosen_model
from tasks.stage import StageResult
from tasks.stages import ALL, REBUILT, STAGE, Done

_WAY_OUT = "what is in use stays in use. The artifact `summary` of this run has every figure"


class GateClosed(Exception):
    """Figures of a run lie outside their limits, so that it stops and what it made is not put to use."""


class Gates:
    """The verdicts of one run, as it goes from stage to stage.

    Attributes:
        promoted: What is in use of the data set; None if nothing is yet.
        verdicts: On every figure so far.
        done: What the stages so far made or found.
    """

    def __init__(self, artifacts: ArtifactStore, config: PipelineConfig) -> None:
        """Raises StoreError if current.json of the data set is damaged."""
        self._artifacts, self._config = artifacts, config
        self.promoted = promotion.current(artifacts, config.data_name)
        self.verdicts: list[Verdict] = []
        self.done: Done = {}
        self._changed = self._changed_stages()

    def check(self, stage: str, done: Done) -> None:
        """Judge the figures of a stage that has just ended. Raises GateClosed if one of them stops the run."""
        self.done |= done
        figures = _FIGURES[stage](self._artifacts, done, self.promoted) if stage in _FIGURES else []
        before = self.promoted["figures"] if self.promoted else {}
        incomparable = {figure.what for figure in figures if stage in self._changed}
        verdicts = gates.judge(figures, self._config.gates, before, incomparable)
        self.verdicts += verdicts
        for verdict in verdicts:
            if verdict.outcome == "warned":
                report.log().warning("gate %s: %s", verdict.figure.check, verdict.reason)
        stopped = [f"gate {v.figure.check}: {v.reason}" for v in verdicts if v.outcome == "stopped"]
        if stopped:
            raise GateClosed(f"not promoted: {'; '.join(stopped)}; {_WAY_OUT}")

    def rows(self) -> list[dict[str, Any]]:
        """Figure, limits and verdict, one row each, as plain JSON."""
        return [
            {
                "check": verdict.figure.check,
                "what": verdict.figure.what,
                "value": verdict.figure.value,
                "low": verdict.figure.low,
                "high": verdict.figure.high,
                "unit": verdict.figure.unit,
                "promoted": verdict.before,
                "change": None if verdict.before is None else verdict.figure.value - verdict.before,
                "limits": verdict.limits,
                "verdict": verdict.outcome,
                "reason": verdict.reason,
            }
            for verdict in self.verdicts
        ]

    def _changed_stages(self) -> set[str]:
        """Stages that work under other settings than the promoted run's, or on what such stages made."""
        if self.promoted is None:
            return set()
        try:
            before = PipelineConfig.model_validate(self.promoted["config"])
        except ValidationError:  # of another version
            return set(STAGE)
        sections = ((getattr(self._config, stage), getattr(before, stage)) for stage in STAGE)
        changed = [key_fields(now) != key_fields(then) for now, then in sections]
        first = changed.index(True) if True in changed else len(changed)
        return set(list(STAGE)[first:])


Promoted = promotion.Entry | None
_Figures = Callable[[ArtifactStore, Done, Promoted], list[Figure]]


def written_by(artifacts: ArtifactStore, done: Done) -> ModelId:
    """The model that wrote the lists, as it was measured."""
    config = RecommendConfig.model_validate(artifacts.manifest(_ref(done, "recommend")).content.config)
    return chosen_model(artifacts, _ref(done, "evaluate"), config.variant)[0]


def values(artifacts: ArtifactStore, ref: ArtifactRef, table: str) -> dict[str, float]:
    """A table of names and values (STATISTICS)."""
    found = artifacts.table(ref, table)
    return dict(zip(found["name"].to_pylist(), found["value"].to_pylist(), strict=True))


def _of_data(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
    """Of the raw data and the prepared ones together: a stop shall name all that is wrong with them."""
    now = _ref(done, "prepare")
    figures = gates.of_raw_data(values(artifacts, _ref(done, "ingest"), "report"))
    figures += gates.of_data(values(artifacts, now, "statistics"), time.time())
    for before in promotion.refs(artifacts, promoted, "prepare") if promoted else []:
        old, new = (artifacts.table(ref, "histograms") for ref in (before, now))
        drifts = drift.of_histograms(old, new)
        drifts.append(drift.of_popularity(*(_popularity(artifacts, ref) for ref in (before, now))))
        show_drift(old, new, drifts)
        figures += drifts
    return figures


def _popularity(artifacts: ArtifactStore, prepare: ArtifactRef) -> dict[str, int]:
    """Interactions of every item by its original id."""
    counts = artifacts.table(prepare, "split", ["item"])["item"].value_counts().to_pylist()
    index = artifacts.table(prepare, "item_index")
    names = dict(zip(index["item"].to_pylist(), index["item_id"].to_pylist(), strict=True))
    return {names[row["values"]]: row["counts"] for row in counts}


def _of_profiles(stage: str) -> _Figures:
    side = stage.removesuffix("_profiles")

    def figures(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
        now = _ref(done, stage)
        found = gates.of_profiles(side, artifacts.table(now, "profiles", ["status", "error"]))
        for before in promotion.refs(artifacts, promoted, stage) if promoted else []:
            found.append(drift.of_lengths(f"{side} profiles", *(_lengths(artifacts, ref) for ref in (before, now))))
        return found

    return figures


def _lengths(artifacts: ArtifactStore, profiles: ArtifactRef) -> npt.NDArray[np.int64]:
    texts = artifacts.table(profiles, "profiles", ["summarization"])["summarization"].drop_null()
    return np.asarray(pc.utf8_length(texts), np.int64)


def _of_embed(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
    result = done["embed"][0]
    failed = re.match(r"\d+", result.unfinished or "0")
    figures = gates.of_vectors(int(failed[0]) if failed else 0, result.rows)
    spent = sum(spent_on(artifacts, done[stage][0])["usd"] for stage in REBUILT if stage in done)
    figures.append(Figure("cost_usd", "spent on profiles and vectors", spent, "usd"))
    for before in promotion.refs(artifacts, promoted, "embed") if promoted else []:
        figures += _shifts(artifacts, before, result.ref)
    return figures


def _shifts(artifacts: ArtifactStore, before: ArtifactRef, now: ArtifactRef) -> list[Figure]:
    """How far the mean vectors went; nothing where another encoder made them, whose space is another."""
    figures: list[Figure] = []
    for side in ("items", "users"):
        old, new = (artifacts.table(ref, side) for ref in (before, now))
        if _encoder(old) == _encoder(new):
            figures += drift.vector_shift(side.removesuffix("s"), vectors_of(old), vectors_of(new))
    return figures


def _encoder(vectors: pa.Table) -> tuple[bytes | None, bytes | None]:
    metadata: Mapping[bytes, bytes] = vectors.schema.metadata or {}
    return metadata.get(b"encoder"), metadata.get(b"digest")


def _of_rebuilt(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
    spent = sum(spent_on(artifacts, done[stage + ALL][0])["usd"] for stage in REBUILT)
    return [Figure("cost_usd", "spent on profiles and vectors of all interactions", spent, "usd")]


def _of_reasons(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
    return [Figure("cost_usd", "spent on reasons", spent_on(artifacts, done["reasons"][0])["usd"], "usd")]


def _of_recommend(artifacts: ArtifactStore, done: Done, promoted: Promoted) -> list[Figure]:
    lists = _ref(done, "recommend")
    n_users = artifacts.dataset(_ref(done, "prepare"), "user_index").count_rows()
    metrics = artifacts.table(_ref(done, "evaluate"), "metrics")
    rows = artifacts.table(lists, "recommendations", ["user_id", "rank", "item_id"])
    return [*gates.of_model(written_by(artifacts, done), metrics), *gates.of_lists(rows, n_users)]


_FIGURES: dict[str, _Figures] = {
    "prepare": _of_data,
    "item_profiles": _of_profiles("item_profiles"),
    "user_profiles": _of_profiles("user_profiles"),
    "embed": _of_embed,
    "recommend": _of_recommend,
    f"embed{ALL}": _of_rebuilt,
    "reasons": _of_reasons,
}


def _ref(done: Mapping[str, list[StageResult]], stage: str) -> ArtifactRef:
    return done[stage][0].ref
