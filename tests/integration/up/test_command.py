"""The real thing: the command `rlmrec`, a server that it starts, a worker and deployments."""

import json

from tests.integration.command import (
    SLOW,
    family,
    finish,
    kill,
    last_run,
    prefect,
    start_run,
    statuses,
    training,
)
from tests.tasks.by_hand import TINY, tiny
from tests.tasks.test_pipeline import STAGES
from tests.waiting import wait_until

# A world of this file's own: in the store of `up` other files may have run the tiny one already.
OWN = {"ingest": {"sample_users": 31, "sample_items": 24}}
ANOTHER_SEED = tiny(train={"variants": ["base"], "seeds": [7]}, **OWN)


def test_a_killed_flow_process_ends_its_run_and_the_next_run_completes(up):
    killed = start_run(up.store, SLOW | OWN)
    wait_until(lambda: training(up.store), "training")
    kill(family(up.process), "prefect.engine")
    status, output = finish(killed)
    assert status == 1 and "Crashed" in output, output

    status, output = finish(start_run(up.store, TINY | OWN))
    assert status == 0, output
    assert [stage["stage"] for stage in last_run(up.store)["stages"]] == STAGES
    found = statuses(up.store)
    assert found == {name: "hit" if name in ("ingest", "prepare") else "computed" for name in found}
    assert "recall@20" in output and last_run(up.store)["recommendations"] in output
    assert ":4200" not in up.api


def run_deployment(up, config) -> tuple[int, str]:
    parameters = json.dumps({"config": config, "store": {"url": str(up.store)}})
    return prefect(up, "deployment", "run", "rlmrec/full-pipeline", "--watch", "--params", parameters)


def test_the_plain_prefect_way_completes_with_exit_status_0(up):
    status, output = run_deployment(up, ANOTHER_SEED.model_dump(mode="json"))
    assert status == 0, output
    assert (statuses(up.store)["prepare"], statuses(up.store)["train"]) == ("hit", "computed")


def test_the_plain_prefect_way_fails_with_exit_status_1(up):
    status, output = run_deployment(up, {"ingest": {"reader": "movielens", "path": "/no/such/folder"}})
    assert status == 1, output
    assert "Failed" in output


def test_the_plain_prefect_way_refuses_a_wrong_parameter_with_exit_status_1(up):
    status, output = run_deployment(up, {"train": {"seeds": "many"}})
    assert status == 1
    assert "seeds" in output
