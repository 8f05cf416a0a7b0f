"""Ranking-aware quantization (Liu et al., arXiv 2106.14156): one scale a tensor, by correlation and order."""

from .baselines import IMAGE
from .recipe import RECIPES, Recipe, Use

RECIPES.register("ranking")(
    Recipe(
        name="ranking",
        title="Ranking-aware",
        summary="Chooses every step size so that the layer's output rises and falls as before and attention "
        "keeps its order; then takes the average error out.",
        rules={"*:weight": Use("symmetric"), "image": IMAGE, "*": Use("symmetric")},
        passes=("nuclear_bits", "ranking_search"),
    )
)
