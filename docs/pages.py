"""A hook of MkDocs: pages made from the code and from the files beside the README, and nothing fetched from elsewhere.

MkDocs calls the functions named `on_...`; `mkdocs.yml` names this file.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocstrings import Inventory

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rlmrec_core", "storage")
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "LICENSE": "LICENSE",
}
"""Files beside docs/ that the site has too, and their names there."""
_FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>", re.IGNORECASE)


class Module(NamedTuple):
    """A public module: its dotted name, its file, and the path of its page in the documentation."""

    name: str
    file: Path
    page: str

    @property
    def is_package(self) -> bool:
        """Whether it has modules of its own."""
        return self.file.name == "__init__.py"

    @property
    def parent(self) -> str:
        """The package it stands in; empty for the outermost."""
        return self.name.rpartition(".")[0]


def modules(package: str) -> Iterator[Module]:
    """The public modules of a package in alphabetical order, itself first."""
    for file in sorted((ROOT / package).rglob("*.py"), key=lambda file: file.with_suffix("").parts):
        parts = file.relative_to(ROOT).with_suffix("").parts
        page = Path("reference", *parts).with_suffix(".md")
        if parts[-1] == "__init__":
            parts, page = parts[:-1], page.with_name("index.md")
        if not any(part.startswith("_") for part in parts):
            yield Module(".".join(parts), file, page.as_posix())


def public_names(module: Module) -> list[str]:
    """What a module itself defines for others, by full name."""
    tree = ast.parse(module.file.read_text(encoding="utf-8"))
    return [f"{module.name}.{name}" for node in tree.body for name in _defined(node) if not name.startswith("_")]


def reference_page(module: Module) -> str:
    """The Markdown of a module's page; a package lists its modules and what it hands on from them."""
    if not module.is_package:
        return f"::: {module.name}\n"
    own = [name.rpartition(".")[2] for name in public_names(module)]
    lines = [f"::: {module.name}", "    options:", f"      members: {own or 'false'}", ""]
    if exported := [name for name in _exported(module.file) if name not in own]:
        links = ", ".join(f"[`{name}`][{module.name}.{name}]" for name in exported)
        lines += [f"To be imported from here: {links}.", ""]
    children = [child for child in modules(module.name.replace(".", "/")) if child.parent == module.name]
    if children:
        lines += ["| module | |", "|---|---|"]
    for child in children:
        doc = ast.get_docstring(ast.parse(child.file.read_text(encoding="utf-8"))) or ""
        summary = " ".join(doc.partition("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| [`{child.name.rpartition('.')[2]}`][{child.name}] | {summary} |")
    return "\n".join(lines) + "\n"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference into the navigation, before the benchmarks."""
    reference = [entry for package in PACKAGES for entry in _navigation(list(modules(package)), "")]
    assert config.nav is not None, "mkdocs.yml has a navigation"
    config.nav.insert(next(n for n, entry in enumerate(config.nav) if "Benchmarks" in entry), {"Reference": reference})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every module, and the files beside the README."""
    for package in PACKAGES:
        for module in modules(package):
            files.append(File.generated(config, module.page, content=reference_page(module)))
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=_from_inside((ROOT / source).read_text(encoding="utf-8"))))
    return files


def on_post_page(output: str, *, page: Any, config: MkDocsConfig) -> None:
    """Refuse a page that fetches fonts, scripts, styles or pictures: the site is whole without a network."""
    fetched = [tag for tag in _FETCHED.findall(output) if "canonical" not in tag]
    if fetched:
        raise PluginError(f"{page.file.src_uri} fetches from elsewhere: {fetched[0]}")


def on_post_build(*, config: MkDocsConfig) -> None:
    """Refuse a site where a public name has no place."""
    with Path(config.site_dir, "objects.inv").open("rb") as file:
        placed = Inventory.parse_sphinx(file)
    names = [name for package in PACKAGES for module in modules(package) for name in public_names(module)]
    if missing := [name for name in names if name not in placed]:
        raise PluginError(f"the reference lacks {', '.join(missing)}")


def _from_inside(text: str) -> str:
    """Markdown from beside docs/ with its links as they are from within."""
    text = text.replace("](docs/", "](")
    for source, page in OUTSIDE.items():
        text = text.replace(f"]({source})", f"]({page})")
    return text


def _defined(node: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _exported(file: Path) -> list[str]:
    """The names in `__all__`."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def _navigation(found: list[Module], parent: str) -> list[dict[str, Any]]:
    """The modules of a package as MkDocs wants them: a package is a branch that begins with its own page."""
    entries = []
    for module in found:
        if module.parent == parent:
            branch = [module.page, *_navigation(found, module.name)] if module.is_package else module.page
            entries.append({module.name.rpartition(".")[2]: branch})
    return entries
