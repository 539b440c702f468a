"""The documentation covers the code, and its links hold; `make docs` checks names, cross-references and docstrings."""

import importlib.util
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)")


@pytest.fixture(scope="module")
def hook():
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    spec = importlib.util.spec_from_file_location("pages_of_the_docs", ROOT / "docs" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ["rlmrec_core", "storage"])
def test_every_public_module_has_a_page(hook, package):
    assert {module.name for module in hook.modules(package)} == {package, *importable(ROOT / package, package)}


def importable(folder, package):
    """Names of the public modules in a package, as Python finds them."""
    for module in pkgutil.iter_modules([str(folder)]):
        if not module.name.startswith("_"):
            yield f"{package}.{module.name}"
            yield from importable(folder / module.name, f"{package}.{module.name}") if module.ispkg else ()


def test_a_site_where_a_public_name_has_no_place_is_refused(hook, tmp_path):
    mkdocstrings = pytest.importorskip("mkdocstrings")
    names = [
        name for package in hook.PACKAGES for module in hook.modules(package) for name in hook.public_names(module)
    ]
    assert {"storage.store.ArtifactStore", "rlmrec_core.split.Split"} <= set(names)
    for left_out in (0, 1):
        inventory = mkdocstrings.Inventory(
            [mkdocstrings.InventoryItem(name, "py", "class", "a.html") for name in names[left_out:]]
        )
        (tmp_path / "objects.inv").write_bytes(inventory.format_sphinx())
        if left_out:
            with pytest.raises(Exception, match=f"the reference lacks {names[0]}$"):
                hook.on_post_build(config=SimpleNamespace(site_dir=tmp_path))
        else:
            hook.on_post_build(config=SimpleNamespace(site_dir=tmp_path))


def test_a_package_links_its_modules_and_what_it_hands_on(hook):
    storage = next(module for module in hook.modules("storage") if module.name == "storage")
    page = hook.reference_page(storage)
    assert "::: storage\n" in page and "| [`keys`][storage.keys] | Keys:" in page
    assert "[`ArtifactStore`][storage.ArtifactStore]" in page


def test_a_page_that_would_fetch_something_is_refused(hook):
    class Page:
        class file:
            src_uri = "index.md"

    for harmless in ('<a href="https://example.com">', '<script src="../a.js">', '<link href="a.css">', "https://x.y"):
        hook.on_post_page(harmless, page=Page, config=None)
    for fetched in ('<script async src="https://example.com/a.js">', "<link rel=stylesheet href=//example.com/a.css>"):
        with pytest.raises(Exception, match=r"index\.md fetches"):
            hook.on_post_page(fetched, page=Page, config=None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_hold_and_lines_are_short(page):
    prose = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in LINK.findall(prose):
        if "://" not in target:
            # The reference is made by the build.
            written = re.sub(r"^(.*/)?reference/(.*?)(/index)?\.md$", lambda made: made[2], target)
            there = page.parent / target if written == target else ROOT / written
            assert there.exists() or there.with_suffix(".py").exists(), f"{page.name}: {target}"
    long = [line for line in prose.splitlines() if len(line) > 110 and not line.startswith("|")]
    assert not long, f"wrap at 100 columns: {long[0]}"


def test_every_room_is_in_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\| `([\w.]+)` \|$", page, flags=re.MULTILINE))
    rooms = {"flows", "tasks", "storage", "prompts", "rlmrec_core.tables"} | {
        f"rlmrec_core.{folder.parent.name}" for folder in (ROOT / "rlmrec_core").glob("*/__init__.py")
    }
    assert named == rooms
