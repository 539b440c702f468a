"""`rlmrec artifacts`: list, show, verify and collect what the store holds."""

from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.tree import Tree

from flows.terminal import Console, StoreOption, plain
from storage import ArtifactRef, ArtifactStore, Manifest, StoreConfig, StoreError, leftovers, sweep
from tasks.datasets import latest_keys, names
from tasks.promotion import datasets_of, in_use

app = typer.Typer(help="Look at the artifacts, check them, and remove old ones.", no_args_is_help=True)
console = Console()


@app.command("list")
def list_(stage: Annotated[str | None, typer.Argument()] = None, store: StoreOption = "artifacts") -> None:
    """List the artifacts, newest first: of which data set, and of a model which one; a star marks what is in use."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    refs, owners = _refs(artifacts), datasets_of(artifacts)
    if stage and stage not in {ref.stage for ref in refs}:
        raise StoreError(_no_such_stage(artifacts, stage, refs))
    used = {key for name in names(artifacts) for keys in in_use(artifacts, name, alone=True).values() for key in keys}
    table = Table("", "stage", Column("key", no_wrap=True), "data set", "what", "made", "rows", "MB")
    for ref in refs:
        if stage in (None, ref.stage):
            manifest = artifacts.manifest(ref)
            made, size = manifest.run.created[:16].replace("T", " "), f"{manifest.bytes / 1e6:.1f}"
            about = (", ".join(owners.get(ref.key, ())), _what(manifest), made, f"{manifest.rows:,}", size)
            table.add_row("*" if ref.key in used else "", ref.stage, ref.key[:12], *about)
    console.print(table)


def _refs(artifacts: ArtifactStore) -> list[ArtifactRef]:
    """All artifacts. Raises StoreError if there are none."""
    artifacts.check_bucket()
    if refs := artifacts.refs():
        return refs
    raise StoreError(f"there is no artifact in {artifacts.url}: check the address, or run the pipeline first")


def _no_such_stage(artifacts: ArtifactStore, stage: str, refs: list[ArtifactRef]) -> str:
    there = sorted({ref.stage for ref in refs})
    near = get_close_matches(stage, there, 1, 0.5)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{artifacts.url} has no artifacts of {stage!r}: {meant}there are {', '.join(there)}"


def _what(manifest: Manifest) -> str:
    """What tells artifacts of one stage apart, in a few words."""
    config = manifest.content.config
    names = ("reader", "generator", "encoder", "backbone", "variant", "seed")
    told = [str(config[name]) for name in names if config.get(name) is not None]
    return " ".join([*told, *(["incomplete"] if config.get("unfinished") else [])])


@app.command()
def show(key: str, store: StoreOption = "artifacts") -> None:
    """Show an artifact's settings, its files and what it was made from. The first digits of its key are enough."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    ref = _find(artifacts, key)
    manifest = artifacts.manifest(ref)
    console.print(f"{ref.stage} {ref.key}\n{artifacts.address(ref)}", markup=False, soft_wrap=True)
    console.print_json(data={"config": manifest.content.config, "run": manifest.run.model_dump()}, ensure_ascii=True)
    files = Table("file", "rows", "bytes", "columns")
    for name, entry in manifest.content.files.items():
        columns = ", ".join(f"{column}: {kind}" for column, kind in (entry.columns or {}).items())
        files.add_row(name, f"{entry.rows:,}" if entry.rows is not None else "", f"{entry.bytes:,}", plain(columns))
    console.print(files)
    console.print(_lineage(artifacts, ref, Tree(str(ref)), set()))


@app.command()
def verify(store: StoreOption = "artifacts") -> None:
    """Compare every file with its sha256; exit status 1 if one differs. The next run rebuilds what is damaged."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    damaged = {ref: artifacts.damaged_files(ref, artifacts.manifest(ref)) for ref in _refs(artifacts)}
    for ref, files in damaged.items():
        console.print(f"{'damaged' if files else 'sound':8} {ref}  {', '.join(files)}", markup=False)
    if any(damaged.values()):
        raise typer.Exit(1)


@app.command()
def gc(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest artifacts of each stage to keep")] = 3,
    delete: Annotated[bool, typer.Option("--delete", help="Really delete; without it, only say what would be")] = False,
    store: StoreOption = "artifacts",
) -> None:
    """Remove what is neither new nor in use, and what killed runs left behind; not while something is running.

    Kept are the newest artifacts of each stage, those that a stage's deployment would take as its inputs, those in use
    and those that a rollback would return to, whatever they all were made from, and the reports about them.
    """
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    verb, freed = "delete" if delete else "would delete", 0
    for ref in collectable(artifacts, keep):
        size = artifacts.manifest(ref).bytes
        freed += size
        console.print(f"{verb} {ref}  {size / 1e6:.1f} MB", markup=False)
        if delete:
            artifacts.remove(ref)
    for left in leftovers(artifacts):
        freed += left.bytes
        console.print(f"{verb} {left.path}  {left.bytes / 1e6:.1f} MB, left by a killed run", markup=False)
        if delete:
            sweep(artifacts, left)
    console.print(f"{freed / 1e6:.1f} MB" + ("" if delete else "; nothing was deleted, say --delete to do it"))


def collectable(artifacts: ArtifactStore, keep: int) -> list[ArtifactRef]:
    """Artifacts that are not among the `keep` newest of their stage, nor noted of a data set, nor ancestors.

    A run's page stays as long as the lists that it is about.
    """
    refs = artifacts.refs()
    by_key = {ref.key: ref for ref in refs}
    pages = [ref for ref in refs if ref.stage == "report"]
    stages = {ref.stage for ref in refs} - {"report"}
    waiting = [ref for stage in stages for ref in [ref for ref in refs if ref.stage == stage][:keep]]
    noted = [
        keys
        for name in names(artifacts)
        for of_stages in (latest_keys(artifacts, name), in_use(artifacts, name))
        for keys in of_stages.values()
    ]
    waiting += [by_key[key] for keys in noted for key in keys if key in by_key]
    kept: set[ArtifactRef] = set()
    while waiting:
        ref = waiting.pop()
        if ref not in kept:
            kept.add(ref)
            waiting += [by_key[key] for key in artifacts.manifest(ref).content.inputs.values() if key in by_key]
    keys = {ref.key for ref in kept}
    kept |= {page for page in pages if keys.issuperset(artifacts.manifest(page).content.inputs.values())}
    return [ref for ref in refs if ref not in kept]


def _find(artifacts: ArtifactStore, key: str) -> ArtifactRef:
    found = [ref for ref in _refs(artifacts) if ref.key.startswith(key)]
    if len(found) != 1:
        raise typer.BadParameter(f"{len(found)} artifacts have a key that starts with {key!r}; see `artifacts list`")
    return found[0]


def _lineage(artifacts: ArtifactStore, ref: ArtifactRef, tree: Tree, seen: set[str]) -> Tree:
    """The artifacts that `ref` was made from, each unfolded once; raw files by their digest."""
    for role, key in artifacts.manifest(ref).content.inputs.items():
        branch = tree.add(f"{role} {key[:12]}{' (see above)' if key in seen else ''}")
        if key not in seen:
            seen.add(key)
            with suppress(StoreError):  # a raw file, or an artifact that was removed
                _lineage(artifacts, ArtifactRef(role.split("/")[0], key, artifacts.url), branch, seen)
    return tree
