"""ADFQ-ViT (arXiv 2407.02763): its quantizers and its module-wise reconstruction."""

from .baselines import IMAGE
from .options import Options
from .recipe import RECIPES, Recipe, Use

RECIPES.register("adfq")(
    Recipe(
        name="adfq",
        title="ADFQ-ViT",
        summary="Keeps the few extreme values exact and treats each part of the picture separately; then "
        "repairs the rounding, one group of layers after the other.",
        rules={
            "*:weight": Use("uniform", {"axis": 0}),
            "image": IMAGE,
            "post_layernorm": Use("per_patch_outlier", {"alpha": 5.0}),
            "post_gelu": Use("shift_log2"),
            "post_softmax": Use("log_sqrt2"),
            "*": Use("uniform"),
        },
        options=Options(effort="standard"),
    )
)
