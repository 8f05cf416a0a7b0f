"""Baselines: uniform quantizers everywhere, ranges from the extremes or from percentiles."""

from .recipe import RECIPES, Recipe, Use

# Every published method keeps the picture itself at 8 bits; the report says so.
IMAGE = Use("uniform", bits=8)

RECIPES.register("minmax")(
    Recipe(
        name="minmax",
        title="Min–max",
        summary="Spaces the numbers that are left evenly between the smallest and the largest value: the "
        "simplest method, but a few extreme values spoil it.",
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
        summary="Like Min–max, but first cuts off the rarest values (at most 0.1 % at each end) where that "
        "makes the error smaller.",
        rules={"*:weight": Use("uniform", {"axis": 0}), "image": IMAGE, "*": Use("uniform")},
    )
)
