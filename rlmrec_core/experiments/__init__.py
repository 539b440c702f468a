"""The paper's tables and figures as recipes over the stages."""

from rlmrec_core.experiments.picture import picture
from rlmrec_core.experiments.recipes import RECIPES, RecipeName, applied
from rlmrec_core.experiments.rows import EXPERIMENT, latex, markdown, rows_of

__all__ = ["EXPERIMENT", "RECIPES", "RecipeName", "applied", "latex", "markdown", "picture", "rows_of"]
