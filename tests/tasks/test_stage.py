import threading
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.stage import Stage, as_state


class Counting:
    """A stage's work that counts how often it is done."""

    def __init__(self, n_rows=3):
        self.calls, self.table = 0, pa.table({"n": list(range(n_rows))})

    def __call__(self, out):
        self.calls += 1
        out.table("numbers", self.table)


def stage(**changes):
    parts = {"version": 1, "config": {"a": 1}, "inputs": {"raw": "0" * 64}} | changes
    return Stage("double", tables=("numbers",), **parts)


def files_of(artifacts):
    root = Path(artifacts.url)
    return {path.relative_to(root) for path in root.rglob("*") if path.is_file() and ".locks" not in path.parts}


def test_the_second_run_is_a_hit_and_computes_nothing(artifacts):
    work = Counting()
    first, second = (stage().run(artifacts, work, force=False) for _ in range(2))
    assert (first.status, second.status, work.calls) == ("computed", "hit", 1)
    assert first.ref == second.ref
    assert second.rows == 3


@pytest.mark.parametrize("change", [{"version": 2}, {"config": {"a": 2}}, {"inputs": {"raw": "1" * 64}}])
def test_version_settings_and_inputs_enter_the_key(artifacts, change):
    work = Counting()
    stage().run(artifacts, work, force=False)
    assert stage(**change).run(artifacts, work, force=False).status == "computed"


def test_force_computes_again(artifacts):
    work = Counting()
    stage().run(artifacts, work, force=False)
    assert stage().run(artifacts, work, force=True).status == "computed"
    assert work.calls == 2


def test_a_damaged_artifact_is_rebuilt_as_it_was(artifacts):
    work = Counting()
    ref = stage().run(artifacts, work, force=False).ref
    file = Path(artifacts.address(ref, "numbers.parquet"))
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert stage().run(artifacts, work, force=False).status == "computed"
    assert file.read_bytes() == sound


def test_a_crash_in_the_middle_leaves_nothing(artifacts):
    def crash(out):
        out.table("numbers", pa.table({"n": [1]}))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        stage().run(artifacts, crash, force=False)
    assert files_of(artifacts) == set()
    assert stage().run(artifacts, Counting(), force=False).status == "computed"


def test_of_two_runs_at_once_one_computes_and_the_other_waits(artifacts):
    started, work = threading.Barrier(2), Counting()
    results = []

    def go():
        started.wait()
        results.append(stage().run(artifacts, work, force=False))

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.status for result in results) == ["computed", "hit"]
    assert work.calls == 1


def test_a_hit_is_shown_as_cached_and_both_say_what_they_took(artifacts):
    computed, hit = (stage().run(artifacts, Counting(), force=False) for _ in range(2))
    states = [as_state(computed), as_state(hit)]
    assert all(state.is_completed() for state in states)
    assert [state.name for state in states] == ["Completed", "Cached"]
    assert [state.result() for state in states] == [computed, hit]
    assert "computed in" in states[0].message and "hit in" in states[1].message and "3 rows" in states[1].message
