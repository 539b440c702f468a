"""A run's report: one self-contained page about the data, the models, what it cost, and people."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlmrec_core.config.registry import preset
from rlmrec_core.model_id import ModelId
from rlmrec_core.models import STOPPING_METRIC
from rlmrec_core.ranking import findings
from rlmrec_core.reports import page
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import report
from tasks.dataset_statistics import facts
from tasks.evidence import profile_texts
from tasks.metrics import comparison, mean_over_seeds, shown_part
from tasks.models import load_split, model_settings
from tasks.prepare import data_size
from tasks.reasons import audit
from tasks.recommend import measured_models
from tasks.results import Results
from tasks.stage import Stage
from tasks.stages import Done, starting_values

VERSION = 4
PAGE = "report.html"
_USERS, _ITEMS = 300, 2_500
"""Shown at most; those of the users are spread evenly over all, those of the items are what they meet, and the most
popular."""
_TEXT, _HISTORY, _ALIKE, _FANS = 500, 40, 6, 10
_LARGEST = 4_500_000
"""Bytes of a page that any machine opens at once."""

_Place = tuple[int, float, str]
"""An item in a list, its score, and why it is there."""


def report_page(artifacts: ArtifactStore, results: Results) -> str:
    """Where the report of these results is; it is made if it is not there yet."""
    inputs = {"recommend": results.lists.key}
    if results.reasons != results.lists:
        inputs["reasons"] = results.reasons.key
    stage = Stage("report", VERSION, (), {}, inputs)

    def write(out: ArtifactWriter) -> None:
        material = _Material(artifacts, results)
        n_users, text = _USERS, material.page(_USERS)
        while len(text.encode()) > _LARGEST and n_users > 1:
            n_users //= 2
            text = material.page(n_users)
        out.file(PAGE, text.encode())

    return artifacts.address(stage.run(artifacts, write, force=False).ref, PAGE)


def show_page(store: StoreConfig, name: str, done: Done) -> None:
    """Make the report of a run that wrote lists, and say in the UI where it is."""
    artifacts = ArtifactStore.open(store)
    keys = {stage: [result.ref.key for result in results] for stage, results in done.items()}
    address = report_page(artifacts, Results.of(artifacts, name, keys))
    said = f"`{address}`\n\nOne file that stands alone: download it, or open it with `rlmrec report`."
    report.show_markdown("report", said, "The run on one page: models, data, costs, and people with their lists")


class _Material:
    """What a page may show, read once."""

    def __init__(self, artifacts: ArtifactStore, results: Results) -> None:
        self.artifacts, self.results = artifacts, results
        inputs = artifacts.manifest(results.lists).content.inputs
        self.prepare, self.evaluate, self.train = (
            ArtifactRef(role, inputs[role], artifacts.url) for role in ("prepare", "evaluate", "train")
        )
        split = load_split(artifacts, self.prepare)
        self.popularity = split.train_popularity()
        order = np.argsort(split.train.item, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.popularity)])
        self.users_of = np.split(split.train.user[order], starts[1:-1])
        self.profiles = self._profiles()

    def page(self, n_users: int) -> str:
        """The page with at most so many users, and items in proportion."""
        results = self.results
        title = f"{results.name}: {results.model.label}"
        users = _spread(len(results.user_ids), n_users)
        lists = self._lists(users)
        items = self._met(users, lists, _ITEMS * n_users // _USERS)
        metrics = mean_over_seeds(self.artifacts.table(self.evaluate, "metrics"))
        place = {item: number for number, item in enumerate(items)}
        user_place = {user: number for number, user in enumerate(users)}
        content = {
            "title": title,
            "about": f"Lists {results.lists.key[:12]} of {len(results.user_ids):,} users from "
            f"{len(results.item_ids):,} items; {len(users):,} users and {len(items):,} items are shown here.",
            "verdict": [
                *_verdict(self.artifacts.table(self.evaluate, "metrics"), results),
                *(_capital(found) for found in findings(self.artifacts.table(self.evaluate, "significance"))),
            ],
            "measured": f"On the {shown_part(metrics)} part, mean over seeds; higher is better.",
            "metrics": _columns(comparison(metrics, shown_part(metrics))),
            "curve": self._curve(),
            **self._settings(),
            "data": [list(pair) for pair in self._data().items()],
            "costs": self._costs(),
            "reasons": self._authors_of_reasons(),
            "users": [self._user(user, place, lists[user]) for user in users],
            "items": [self._item(item, place, user_place) for item in items],
        }
        return page(title, content)

    def _lists(self, users: Sequence[int]) -> dict[int, list[_Place]]:
        """What stands in each user's list, with the reason, as it was written."""
        results = self.results
        wanted = pc.field("user_id").isin([results.user_ids[user] for user in users])
        lists, reasons = (
            self.artifacts.dataset(ref, name).to_table(filter=wanted)
            for ref, name in ((results.lists, "recommendations"), (results.reasons, "reasons"))
        )
        found: dict[int, list[_Place]] = {user: [] for user in users}
        for row, sentence in zip(lists.to_pylist(), reasons["sentence"].to_pylist(), strict=True):
            found[results.user(row["user_id"])].append((results.item(row["item_id"]), row["score"], sentence))
        return found

    def _met(self, users: Sequence[int], lists: Mapping[int, Sequence[_Place]], n_items: int) -> list[int]:
        """The items that these users have or get, and as many of the most popular as fit; those come first."""
        had = (item for user in users for item in self._history(user)[:_HISTORY])
        met = dict.fromkeys([*had, *(item for listed in lists.values() for item, _, _ in listed)])
        popular = np.argsort(-self.popularity, kind="stable").tolist()
        chosen = set(list(dict.fromkeys([*met, *popular]))[: max(n_items, len(met))])
        return [item for item in popular if item in chosen]

    def _history(self, user: int) -> list[int]:
        known: list[int] = self.results.recommender.known(user).tolist()
        return known

    def _user(self, user: int, place: Mapping[int, int], listed: Sequence[_Place]) -> dict[str, Any]:
        history = self._history(user)
        return {
            "id": self.results.user_ids[user],
            "profile": _cut(self.profiles["user"][user]) if self.profiles else None,
            "history": [place[item] for item in history[:_HISTORY]],
            "more": max(len(history) - _HISTORY, 0),
            "list": [[place[item], round(score, 4), sentence] for item, score, sentence in listed],
        }

    def _item(self, item: int, place: dict[int, int], user_place: dict[int, int]) -> dict[str, Any]:
        results, alike = self.results, self.results.recommender.similar(item, 4 * _ALIKE)
        found = zip(alike.items.tolist(), alike.scores.tolist(), strict=True)
        return {
            "id": results.item_ids[item],
            "title": _cut(results.titles[item]),
            "profile": _cut(self.profiles["item"][item]) if self.profiles else None,
            "popularity": int(self.popularity[item]),
            "similar": [[place[other], round(cosine, 4)] for other, cosine in found if other in place][:_ALIKE],
            "users": [user_place[user] for user in self.users_of[item].tolist() if user in user_place][:_FANS],
        }

    def _profiles(self) -> dict[str, list[str | None]]:
        written = self._written()
        return {side: profile_texts(self.artifacts, ref) for side, ref in written.items()}

    def _written(self) -> dict[str, ArtifactRef]:
        """The profiles of both sides that the lists' model was aligned with, or else any of the measured ones."""
        for model in [self.train, *measured_models(self.artifacts, self.evaluate)]:
            key = self.artifacts.manifest(model).content.inputs.get("embed")
            if key:
                inputs = self.artifacts.manifest(ArtifactRef("embed", key, self.artifacts.url)).content.inputs
                roles = {side: f"{side}_profiles" for side in ("item", "user")}
                return {side: ArtifactRef(role, inputs[role], self.artifacts.url) for side, role in roles.items()}
        return {}

    def _authors_of_reasons(self) -> str:
        if self.results.reasons == self.results.lists:
            return "Every reason is made of its evidence, without a language model."
        said = audit(self.artifacts.table(self.results.reasons, "reasons", ["generator", "error", "model"]))
        return f"Reasons: {said}."

    def _settings(self) -> dict[str, Any]:
        """What the lists' model was trained with, and whether these are the starting values of the preset auto."""
        run, size = model_settings(self.artifacts, self.train), data_size(self.artifacts, self.prepare)
        chosen = preset(run.backbone, run.variant, "auto", "tuned", size)._asdict()
        guessed = all(getattr(run, name) == value for name, value in chosen.items() if value is not None)
        source = f"These are what the preset auto chose: {starting_values(size)}." if guessed else ""
        settings = [[name, str(value)] for name, value in run.flat().items() if value is not None]
        return {"settings": settings, "settings_from": source}

    def _curve(self) -> list[list[float]]:
        history = self.artifacts.table(self.train, "history")
        if STOPPING_METRIC not in history.column_names:
            return []
        known = history.filter(pc.field(STOPPING_METRIC).is_valid()).select(["epoch", STOPPING_METRIC])
        return [[row["epoch"], round(row[STOPPING_METRIC], 5)] for row in known.to_pylist()]

    def _data(self) -> dict[str, str]:
        table = self.artifacts.table(self.prepare, "statistics")
        return facts(dict(zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True)))

    def _costs(self) -> list[list[Any]]:
        """Who wrote how many profiles, and for how much."""
        rows: list[list[Any]] = []
        for side, ref in self._written().items():
            table = self.artifacts.table(ref, "profiles", ["generator", "model", "status", "cost_usd"])
            grouped = table.group_by(["generator", "model", "status"], use_threads=False)
            for row in grouped.aggregate([([], "count_all"), ("cost_usd", "sum")]).to_pylist():
                by = row["model"] or row["generator"]
                cost = row["cost_usd_sum"]
                rows.append(
                    [f"{side}s, {row['status']}", by, row["count_all"], "nothing" if not cost else f"{cost:.4f}"]
                )
        return rows


def _verdict(metrics: pa.Table, results: Results) -> list[str]:
    """What the lists' model reached, and by how much it beats popularity, with what chance leaves open."""
    rows = metrics.to_pylist()
    # A refitted model has other settings than the one that was measured in its place.
    exact = [row for row in rows if ModelId(*(row[name] for name in ModelId._fields)) == results.model]
    own = exact or [row for row in rows if (row["backbone"], row["variant"], row["seed"]) == results.model[:3]]
    part = shown_part(own)
    recall = [row for row in own if (row["part"], row["metric"]) == (part, "recall")]
    if not recall:
        return [f"{results.model.label} wrote the lists; nothing was held out to measure it on."]
    best = max(recall, key=lambda row: (row["k"] == 20, row["k"]))
    lines = [f"{results.model.label} wrote the lists: Recall@{best['k']} {best['value']:.4f} on the {part} part."]
    if best["low"] is not None:
        lines.append(f"With 95 % confidence over users it is between {best['low']:.4f} and {best['high']:.4f}.")
    if best["gain"] is not None:
        clear = best["gain_low"] > 0 or best["gain_high"] < 0
        kind = "more than" if best["gain"] >= 0 else "less than"
        doubt = "" if clear else ", which may be chance"
        lines.append(f"That is {abs(best['gain']):.4f} {kind} popularity reaches{doubt}.")
    if results.config.fit_on == "all":
        lines.append("It was measured on train, and has learnt from all interactions for these lists.")
    return lines


def _capital(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}."


def _spread(total: int, n: int) -> list[int]:
    """At most n numbers below `total`, evenly spread."""
    chosen: list[int] = np.unique(np.linspace(0, total - 1, min(n, total)).astype(int)).tolist()
    return chosen


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = list(rows[0]) if rows else []
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in rows]}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."
