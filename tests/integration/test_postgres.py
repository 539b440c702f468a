"""A Prefect server on Postgres, with two workers, as a team has it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flows.client import connect, is_healthy
from flows.services import SERVER_COMMAND, WORKER_COMMAND, free_port
from storage import ArtifactStore
from tasks import promotion
from tests.integration.command import ROOT, environment
from tests.tasks.by_hand import tiny
from tests.waiting import PATIENCE, wait_until

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@contextmanager
def running(command: list[str | Path], folder: Path, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process for as long as the block lasts, its output in a file of the folder."""
    with (folder / f"{Path(command[-1]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**variables), stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture
def database(tmp_path) -> Iterator[str]:
    """The address of an empty database in a Postgres server of the test's own, on loopback."""
    if not PROGRAMS:
        pytest.skip("no Postgres server: apt-get install postgresql")
    data, port = tmp_path / "postgres", free_port(5433)
    data.mkdir()
    if AS_POSTGRES:
        shutil.chown(data, "postgres", "postgres")
        for parent in (tmp_path, *tmp_path.parents[:3]):
            parent.chmod(0o755)
    subprocess.run(
        [*AS_POSTGRES, PROGRAMS / "initdb", "-A", "trust", "-U", "prefect", "-D", data], check=True, capture_output=True
    )
    options = ["-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
    with running([*AS_POSTGRES, PROGRAMS / "postgres", *options, "-c", "fsync=off", "-D", data], tmp_path):
        asks = [PROGRAMS / "pg_isready", "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(asks, capture_output=True, check=False).returncode == 0, "Postgres is ready")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"


def test_two_workers_on_postgres_do_two_runs_at_once(database, tmp_path):
    port = free_port(4300)
    api, store = f"http://127.0.0.1:{port}/api", tmp_path / "artifacts"
    variables = {
        "PREFECT_API_URL": api, "PREFECT_HOME": str(tmp_path / "prefect"), "RLMREC_HOME": str(ROOT),
        "RLMREC_STORE": str(store), "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }  # fmt: skip
    with ExitStack() as stack:
        serve = [*SERVER_COMMAND, "--host", "127.0.0.1", "--port", str(port)]
        stack.enter_context(running(serve, tmp_path, **variables))
        wait_until(lambda: is_healthy(api), "the server is ready")
        deploys = [sys.executable, "-m", "flows.launch"]
        subprocess.run(deploys, cwd=ROOT, env=environment(**variables), check=True, capture_output=True)
        for number in "12":
            name = {"PREFECT_WORKER_NAME": number}
            stack.enter_context(
                running([*WORKER_COMMAND, "--name", number, "--limit", "1"], tmp_path, **variables, **name)
            )
        with connect(api) as client:
            runs = []
            for name, deployment in (("one", "rlmrec/full-pipeline"), ("two", "refresh-profiles/refresh-all")):
                config = tiny(train={"variants": ["base"]}).model_copy(update={"name": name}).model_dump(mode="json")
                found = client.read_deployment_by_name(deployment)
                given = dict(found.parameters) | {"config": config}
                runs.append(client.create_flow_run_from_deployment(found.id, parameters=given).id)

            def ended() -> bool:
                states = [client.read_flow_run(run).state for run in runs]
                return all(state and state.is_final() for state in states)

            wait_until(ended, "both runs ended")
            assert [client.read_flow_run(run).state.name for run in runs] == ["Completed", "Completed"]
    artifacts = ArtifactStore(str(store))
    entries = [promotion.current(artifacts, name) for name in ("one", "two")]
    assert entries[0]["artifacts"] == entries[1]["artifacts"], "the same data and settings, whoever did what"
