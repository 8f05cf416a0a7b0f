"""PTQ4SAM (arXiv 2405.03144), without its reconstruction: for Segment Anything."""

from .baselines import IMAGE
from .recipe import RECIPES, Recipe, Use

RULES = {
    "*:weight": Use("uniform", {"axis": 0, "range": "power"}),
    "image": IMAGE,
    "post_softmax": Use("adaptive_granularity"),
    "decoder_key": Use("uniform", {"range": "mean_power"}),
    "*": Use("uniform", {"range": "mean"}),
}

RECIPES.register("ptq4sam")(
    Recipe(
        name="ptq4sam",
        title="PTQ4SAM",
        summary="Made for Segment Anything: keys that pile up at two values are moved onto one, and "
        "attention values get steps as fine as their bits allow.",
        rules=RULES,
        made_for="segmentation",
        passes=("fold_keys", "calibrate"),
    )
)
