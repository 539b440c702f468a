"""A table or figure of the paper on one page that stands alone."""

import base64

from rlmrec_core.config import PipelineConfig
from rlmrec_core.experiments import RECIPES, RecipeName, Sheet, picture
from rlmrec_core.reports import page

PAGE = "experiment.html"


def experiment_page(recipe: RecipeName, config: PipelineConfig, sheet: Sheet, settings: str) -> str:
    """The page as HTML, one file; settings: what makes the same models again, as TOML."""
    seeds = config.train.seeds
    title = RECIPES[recipe].title
    content = {
        "title": title,
        "about": f"Data set {config.data_name}; {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}.",
        "beside": ", beside the paper's" if any("paper" in name for name in sheet.header) else "",
        "columns": list(sheet.header),
        "rows": [list(line) for line in sheet.lines],
        "axis": sheet.axis,
        "picture": base64.b64encode(picture(sheet, "svg")).decode(),
        "notes": list(sheet.notes),
        "command": command(recipe, config),
        "settings": settings,
    }
    return page(f"{config.data_name}: {title}", content, "experiment.html")


def command(recipe: RecipeName, config: PipelineConfig) -> str:
    """What makes it again; the folder of the data is for whoever has it to name."""
    data = "" if config.ingest.reader == "sample" else " --data FOLDER"
    return f"rlmrec experiment {recipe} --config settings.toml{data} --seeds {len(config.train.seeds)}"
