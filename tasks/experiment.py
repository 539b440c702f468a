"""A table or figure of the paper: rows, and the same as Markdown, as LaTeX and as a picture."""

from prefect import State, task

from rlmrec_core.experiments import RECIPES, RecipeName, latex, markdown, picture, rows_of
from storage import ArtifactRef, ArtifactStore, ArtifactWriter, StoreConfig
from tasks import datasets, report
from tasks.models import load_split
from tasks.stage import UNCACHED, Stage, StageResult, as_state

VERSION = 2
MARKDOWN, LATEX, SVG, PNG = "table.md", "table.tex", "picture.svg", "picture.png"


@task(name="experiment", **UNCACHED)
def experiment(
    recipe: RecipeName,
    store: StoreConfig,
    prepare: ArtifactRef,
    evaluate: ArtifactRef,
    name: str,
    force: bool = False,
) -> StageResult | State[StageResult]:
    """The rows of a recipe from what evaluate measured. name: of the data set, which remembers where they are."""
    artifacts = ArtifactStore.open(store)
    inputs = {"prepare": prepare.key, "evaluate": evaluate.key}
    stage = Stage("experiment", VERSION, ("rows",), {"recipe": recipe}, inputs)

    def write(out: ArtifactWriter) -> None:
        split = load_split(artifacts, prepare)
        rows = rows_of(artifacts.table(evaluate, "significance"), split.n_users, split.n_items)
        out.table("rows", rows)
        out.file(MARKDOWN, markdown(rows).encode())
        out.file(LATEX, latex(rows).encode())
        out.file(SVG, picture(rows, "svg"))
        out.file(PNG, picture(rows, "png"))

    result = stage.run(artifacts, write, force=force)
    table = artifacts.read_bytes(result.ref, MARKDOWN).decode()
    report.show_markdown(f"experiment-{recipe}", table, RECIPES[recipe].title)
    datasets.write(artifacts, name, noted(recipe), {"key": result.ref.key})
    return as_state(result)


def noted(recipe: RecipeName) -> str:
    """The file of a data set that remembers its last table of a recipe."""
    return f"last-{recipe}.json"
