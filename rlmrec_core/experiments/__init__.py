"""The paper's tables and figures as recipes over the stages."""

from rlmrec_core.experiments.recipes import RECIPES, Arm, RecipeName, applied, arms, n_models
from rlmrec_core.experiments.sheet import Sheet, latex, markdown, picture

__all__ = ["RECIPES", "Arm", "RecipeName", "Sheet", "applied", "arms", "latex", "markdown", "n_models", "picture"]
