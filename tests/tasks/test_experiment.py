"""A table of the paper from what evaluate measured."""

from rlmrec_core.experiments import EXPERIMENT
from tasks import datasets
from tasks.experiment import LATEX, MARKDOWN, PNG, SVG, experiment, noted
from tasks.stage import result_of
from tasks.stages import run_by_hand
from tests.tasks.by_hand import tiny


def test_rows_and_tables_are_an_artifact_of_their_own(store, artifacts):
    done = run_by_hand(tiny(train={"variants": ["base"], "seeds": [1, 2]}), store, last="evaluate")
    prepare, evaluate = (done[stage][0].ref for stage in ("prepare", "evaluate"))
    made = result_of(experiment.fn("table1", store, prepare, evaluate, "sample"))
    rows = artifacts.table(made.ref, "rows")
    assert rows.schema.equals(EXPERIMENT) and "lightgcn base" in rows["label"].to_pylist()
    assert "| lightgcn base |" in artifacts.read_bytes(made.ref, MARKDOWN).decode()
    assert "lightgcn base &" in artifacts.read_bytes(made.ref, LATEX).decode()
    assert b"lightgcn base" in artifacts.read_bytes(made.ref, SVG)
    assert artifacts.read_bytes(made.ref, PNG).startswith(b"\x89PNG")
    assert datasets.read(artifacts, "sample", noted("table1")) == {"key": made.ref.key}
    assert result_of(experiment.fn("table1", store, prepare, evaluate, "sample")).status == "hit"
    assert result_of(experiment.fn("table2", store, prepare, evaluate, "sample")).ref.key != made.ref.key
