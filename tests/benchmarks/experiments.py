"""The paper's tables and figures, ours: the experiments of stores as one page of the documentation, in Markdown.

python -m tests.benchmarks.experiments STORE [STORE ...] [--data NAME="What people call it" ...] [--machine WORDS]

Of every data set the last artifact of each recipe, in the paper's order, with its seeds, how long its models were
trained, the command and the settings. --data names the data sets to show, all if there is none; --machine says what
they were trained on, this machine's processor if it is left out.
"""

import argparse
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill

from rlmrec_core.config import load_config
from rlmrec_core.experiments import RECIPES, RecipeName
from storage import ArtifactRef, ArtifactStore, StoreConfig
from tasks import datasets, report
from tasks.dataset_statistics import facts
from tasks.experiment import MARKDOWN, SETTINGS, noted
from tasks.experiment_page import command
from tasks.speed import machine

_HEAD = """# The paper's tables, ours

Written by `python -m tests.benchmarks.experiments` from artifacts of `rlmrec experiment`
([what each recipe compares](../paper.md)), on test. ± is the deviation over seeds, a star p < 0.05
over seeds after Holm, the gain that over Base. The paper's figures stand beside ours where the data
are the paper's, or where it is said whose they are."""


@dataclass(frozen=True)
class Found:
    """The last experiment of a recipe on a data set."""

    artifacts: ArtifactStore
    ref: ArtifactRef
    recipe: RecipeName

    @property
    def inputs(self) -> Mapping[str, str]:
        return self.artifacts.manifest(self.ref).content.inputs

    def text(self, name: str) -> str:
        return self.artifacts.read_bytes(self.ref, name).decode()


def page(stores: Sequence[ArtifactStore], titles: Mapping[str, str], where: str) -> str:
    """The whole page. titles: of the data sets to show by their names; none shows all. where: the machine, in words."""
    parts = [_HEAD, fill(f"Trained on: {where}.", 100)]
    for store in stores:
        for name in datasets.names(store):
            if titles and name not in titles:
                continue
            if found := list(_experiments(store, name)):
                parts.append(f"## {titles.get(name, name)}\n\n{_data(found[0])}")
                parts += [_section(one) for one in found]
    return "\n\n".join(parts) + "\n"


def _experiments(store: ArtifactStore, name: str) -> Iterator[Found]:
    for recipe in RECIPES:
        note = datasets.read(store, name, noted(recipe))
        if note and (ref := store.find("experiment", note["key"])):
            yield Found(store, ref, recipe)


def _data(one: Found) -> str:
    """Users, items and interactions of the prepared data."""
    prepare = ArtifactRef("prepare", one.inputs["prepare"], one.artifacts.url)
    table = one.artifacts.table(prepare, "statistics")
    told = facts(dict(zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True)))
    return fill("; ".join(f"{name} {value}" for name, value in list(told.items())[:4]), 100) + "."


def _section(one: Found) -> str:
    settings = one.text(SETTINGS)
    config = load_config(overrides=tomllib.loads(settings))
    seeds = ", ".join(map(str, config.train.seeds))
    table, *notes = one.text(MARKDOWN).strip().split("\n\n")
    said = "\n".join(fill(f"- {' '.join(note.split())}", 100, subsequent_indent="  ") for note in notes)
    about = fill(f"Seeds {seeds}; {_hours(one)}", 100)
    again = f"```sh\n{command(one.recipe, config)}\n```"
    hidden = f"<details markdown><summary>settings.toml</summary>\n\n```toml\n{settings}```\n\n</details>"
    return "\n\n".join(filter(None, [f"### {RECIPES[one.recipe].title}", about, table, said, again, hidden]))


def _hours(one: Found) -> str:
    """How long the models were trained that the rows are about."""
    found: dict[str, float] = {}
    for role, key in one.inputs.items():
        inputs = {role: key}
        if role.startswith("evaluate"):
            evaluate = ArtifactRef("evaluate", key, one.artifacts.url)
            inputs = dict(one.artifacts.manifest(evaluate).content.inputs)
        for inner, model in inputs.items():
            if inner.startswith("train/"):
                ref = ArtifactRef("train", model, one.artifacts.url)
                found[model] = one.artifacts.manifest(ref).run.seconds
    if not found:
        return "each model for a few epochs."
    return f"{len(found)} models are measured, trained for {report.minutes(sum(found.values()))} in all."


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=WORDS")
    parser.add_argument("--machine", default=machine("cpu"))
    given = parser.parse_args()
    stores = [ArtifactStore.open(StoreConfig(url=url)) for url in given.stores]
    titles = {name: words or name for name, _, words in (text.partition("=") for text in given.data)}
    print(page(stores, titles, given.machine), end="")


if __name__ == "__main__":
    main()
