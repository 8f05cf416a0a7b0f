"""Baselines: uniform quantizers everywhere, ranges from the extremes or from percentiles."""

from .recipe import RECIPES, Recipe, Use

# Every published method keeps the picture itself at 8 bits; the report says so.
IMAGE = Use("uniform", bits=8)

RECIPES.register("minmax")(
    Recipe(
        name="minmax",
        title="Min–max",
        summary="Spreads the codes evenly from the smallest to the largest value: the simplest method, "
        "hurt by outliers.",
        rules={
            "*:weight": Use("uniform", {"axis": 0, "range": "minmax"}),
            "image": Use("uniform", {"range": "minmax"}, bits=8),
            "*": Use("uniform", {"range": "minmax"}),
        },
    )
)

RECIPES.register("percentile")(
    Recipe(
        name="percentile",
        title="Percentile",
        summary="Cuts off the rarest values (at most 0.1 % at each end) where that lowers the error, then "
        "spreads the codes evenly.",
        rules={"*:weight": Use("uniform", {"axis": 0}), "image": IMAGE, "*": Use("uniform")},
    )
)
