"""Every package that the product imports is declared, not merely there because another one needs it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("flows", "prompts", "rlmrec_core", "storage", "tasks")


def imported(source: str) -> Iterator[str]:
    """Top-level packages that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def undeclared(packages: set[str], requirements: list[str]) -> set[str]:
    declared = {normal(found[0]) for line in requirements if (found := re.match(r"[\w.-]+", line))}
    providers = packages_distributions()
    # A package that is not installed, such as one of an extra, is looked for under its own name.
    return {
        package
        for package in packages - set(sys.stdlib_module_names) - set(ROOMS)
        if declared.isdisjoint(map(normal, providers.get(package, [package])))
    }


def test_every_used_package_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"]
    packages = {name for room in ROOMS for file in (ROOT / room).rglob("*.py") for name in imported(file.read_text())}
    assert {"prefect", "torch"} <= packages
    assert not undeclared(packages, sum(extras, project["dependencies"]))


def test_a_package_that_another_one_brings_is_found() -> None:
    packages = set(
        imported("import json\ndef f():\n    from yaml.nodes import Node\nfrom . import near\nimport numpy.typing")
    )
    assert packages == {"json", "yaml", "numpy"}
    assert undeclared(packages, ["NumPy>=1", "Prefect>=3"]) == {"yaml"}
