"""`rlmrec artifacts`: list, show, verify and collect what the store holds."""

from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from flows.terminal import StoreOption
from storage import ArtifactRef, ArtifactStore, StoreConfig, StoreError, leftovers, sweep
from tasks.datasets import latest_keys, names
from tasks.promotion import in_use

app = typer.Typer(help="Look at the artifacts, check them, and remove old ones.", no_args_is_help=True)
console = Console(highlight=False)


@app.command("list")
def list_(stage: Annotated[str | None, typer.Argument()] = None, store: StoreOption = "artifacts") -> None:
    """List the artifacts, newest first."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    table = Table("stage", "key", "made", "seconds", "rows", "MB")
    for ref in artifacts.refs(stage):
        manifest = artifacts.manifest(ref)
        size, made = f"{manifest.bytes / 1e6:.1f}", manifest.run.created[:19].replace("T", " ")
        table.add_row(ref.stage, ref.key[:12], made, f"{manifest.run.seconds:.1f}", f"{manifest.rows:,}", size)
    console.print(table)


@app.command()
def show(key: str, store: StoreOption = "artifacts") -> None:
    """Show an artifact's settings, its files and what it was made from. The first digits of its key are enough."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    ref = _find(artifacts, key)
    manifest = artifacts.manifest(ref)
    console.print(f"{ref.stage} {ref.key}\n{artifacts.address(ref)}", markup=False, soft_wrap=True)
    console.print_json(data={"config": manifest.content.config, "run": manifest.run.model_dump()})
    files = Table("file", "rows", "bytes", "sha256")
    for name, entry in manifest.content.files.items():
        files.add_row(name, str(entry.rows or ""), f"{entry.bytes:,}", entry.sha256[:12])
    console.print(files)
    console.print(_lineage(artifacts, ref, Tree(str(ref)), set()))


@app.command()
def verify(store: StoreOption = "artifacts") -> None:
    """Compare every file with its sha256; exit status 1 if one differs. The next run rebuilds what is damaged."""
    artifacts = ArtifactStore.open(StoreConfig(url=store))
    damaged = {ref: artifacts.damaged_files(ref, artifacts.manifest(ref)) for ref in artifacts.refs()}
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
    and those that a rollback would return to, and whatever they all were made from.
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
    """Artifacts that are not among the `keep` newest of their stage, nor noted of a data set, nor ancestors."""
    refs = artifacts.refs()
    by_key = {ref.key: ref for ref in refs}
    stages = {ref.stage for ref in refs}
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
    return [ref for ref in refs if ref not in kept]


def _find(artifacts: ArtifactStore, key: str) -> ArtifactRef:
    found = [ref for ref in artifacts.refs() if ref.key.startswith(key)]
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
