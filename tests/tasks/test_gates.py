"""The gates of a run: what they compare, and when they only warn."""

import pytest

from tasks import datasets, last_run, promotion
from tasks.gates import GateClosed, Gates
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


def judged(artifacts, config, done) -> Gates:
    gates = Gates(artifacts, config)
    for stage in done:
        gates.check(stage, {name: done[name] for name in list(done)[: list(done).index(stage) + 1]})
    return gates


def test_a_collapse_stops_the_run_and_other_settings_make_it_a_warning(artifacts, store):
    config = tiny(train={"variants": ["base"]})
    done = run_by_hand(config, store)
    first = judged(artifacts, config, done)
    assert {verdict.outcome for verdict in first.verdicts} <= {"passed", "warned"}, "a first run passes"
    assert last_run.note(artifacts, config, first)["verdict"] == "promoted"
    again = judged(artifacts, config, done)
    assert all(row["change"] == pytest.approx(0, abs=1e-4) for row in again.rows() if row["promoted"] is not None)

    in_use = promotion.current(artifacts, "sample")
    assert in_use
    recall = next(what for what in in_use["figures"] if what.startswith("recall@20") and "over" not in what)
    in_use["figures"][recall] = 1e3  # as if tonight's had fallen from there
    datasets.write(artifacts, "sample", promotion.CURRENT, in_use)
    with pytest.raises(GateClosed, match=rf"gate recall: {recall}: .*below the promoted run's 1000"):
        judged(artifacts, config, done)
    other = config.model_copy(update={"train": config.train.model_copy(update={"max_epochs": 5})})
    verdict = next(verdict for verdict in judged(artifacts, other, done).verdicts if verdict.figure.what == recall)
    assert verdict.outcome == "warned" and "under other settings" in str(verdict.reason)
    users = {"users": 10 * in_use["figures"]["users"]}
    datasets.write(artifacts, "sample", promotion.CURRENT, in_use | {"figures": in_use["figures"] | users})
    with pytest.raises(GateClosed, match="gate users"):  # data know nothing of training
        judged(artifacts, other, done)
