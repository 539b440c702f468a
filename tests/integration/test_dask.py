"""The same artifacts from a Dask cluster: one of its own, one at an address, one that loses a worker."""

import os
import signal
import sqlite3
import threading
from contextlib import closing

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows import stages
from flows.engine import WITHOUT_PROFILER
from flows.full_pipeline import rlmrec
from flows.refresh import refresh_profiles
from storage import ArtifactStore, StoreConfig
from tests.fake_llm import FakeLLM
from tests.tasks.by_hand import run_by_hand, tiny
from tests.tasks.test_paid import profiled
from tests.tasks.test_pipeline import digests
from tests.waiting import wait_until

pytest.importorskip("prefect_dask", reason="the extra dask is not installed")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

LOST_AND_ANSWERED = "SELECT key, count(*) FROM calls WHERE state = ? GROUP BY key"


@pytest.fixture(scope="module", autouse=True)
def prefect_db():
    """A Prefect server of the tests' own."""
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="module")
def cluster():
    """A cluster that others look after, known by its address; its workers know the key of the model server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-test")
        with (
            dask.config.set(WITHOUT_PROFILER),
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as found,
        ):
            yield found


def asking(server, **engine):
    """Settings under which everything that can be asked is asked."""
    llm = {"model": "m", "base_url": server.url, "price_in": 1.0, "price_out": 2.0, "concurrency": 6}
    side = {"generator": "llm", "max_words": 60, "llm": llm}
    embed = {"encoder": "openai", "model": "e", "base_url": server.url, "batch_tokens": 64, "embed_source": "profile"}
    return tiny(item_profiles=side, user_profiles=side, embed=embed, engine=engine)


def task_runs():
    """Names of all task runs, and of their last states."""
    with get_client(sync_client=True) as client:
        return {(run.name, run.state.name) for run in client.read_task_runs()}


def test_a_cluster_on_this_machine_writes_the_same_bytes(tmp_path):
    run_by_hand(tiny(), StoreConfig(url=str(tmp_path / "local")))
    config = tiny(engine={"kind": "dask", "workers": 2, "shards": 3})
    rlmrec(config, StoreConfig(url=str(tmp_path / "dask")))
    assert digests(tmp_path / "dask") == digests(tmp_path / "local")
    shards = {f"{stage} shard {n} of 3" for stage in ("item-profiles", "user-profiles", "embed") for n in (1, 2, 3)}
    models = {" ".join(map(str, ("train", *run.model_id))) for run in config.train.runs()}
    assert {(name, "Completed") for name in shards | models} <= task_runs()


def test_at_an_address_everything_is_asked_once_and_written_the_same(cluster, tmp_path):
    local, dask = (StoreConfig(url=str(tmp_path / name)) for name in ("local", "dask"))
    with FakeLLM() as server:
        profiled(asking(server), local)
        alone = server.billed.copy()
        refresh_profiles(asking(server, kind="dask", address=cluster.scheduler_address), dask)
    assert digests(tmp_path / "dask") == digests(tmp_path / "local")
    assert server.billed - alone == alone and set(alone.values()) == {1}


def test_a_killed_worker_loses_no_paid_answer(cluster, tmp_path):
    store, ledger = StoreConfig(url=str(tmp_path / "artifacts")), tmp_path / "artifacts" / "ledger.sqlite"
    # Slow until the kill, so that no worker is done before the other one begins.
    with FakeLLM(latency=3) as server, distributed.Client(cluster, set_as_default=False) as client:
        config = asking(server, kind="dask", address=cluster.scheduler_address)
        ingest = config.ingest.model_copy(update={"sample_users": 150, "sample_items": 150})
        stages.prepare(config.prepare, store, stages.ingest(ingest, store).ref.key)
        workers = client.run(os.getpid)
        killer = threading.Thread(target=kill_when_both_ask, args=(server, ledger, next(iter(workers.values()))))
        killer.start()
        result = stages.item_profiles(config.item_profiles, store, engine=config.engine)
        killer.join()
        assert set(client.run(os.getpid).values()) != set(workers.values())
    rows = ArtifactStore.open(store).table(result.ref, "profiles")
    assert set(rows["status"].to_pylist()) == {"ok"} and result.unfinished is None
    answered, lost = (dict(calls(ledger, LOST_AND_ANSWERED, state)) for state in ("answered", "lost"))
    # Paid for once, but for those whose answers were under way to the worker that was killed.
    assert lost and set(answered.values()) == {1} and set(answered) == set(rows["prompt_hash"].to_pylist())
    assert len(answered) <= server.billed.total() <= len(answered) + sum(lost.values())


def kill_when_both_ask(server, ledger, pid):
    """Kill a worker while both are waiting for answers."""
    asking = "SELECT count(DISTINCT owner) FROM calls WHERE state = ?"
    wait_until(lambda: server.n_requests and calls(ledger, asking, "sent") == [(2,)], "both workers ask")
    os.kill(pid, signal.SIGKILL)
    server.latency = 0.1


def calls(ledger, query, state):
    with closing(sqlite3.connect(ledger)) as db:
        return db.execute(query, (state,)).fetchall()
