"""ADFQ-ViT (arXiv 2407.02763): its quantizers and its module-wise reconstruction."""

from .baselines import IMAGE
from .options import Options
from .recipe import RECIPES, Recipe, Use

RECIPES.register("adfq")(
    Recipe(
        name="adfq",
        title="ADFQ-ViT",
        summary="Leaves the few largest values in floating point, gives every patch its own scale, and "
        "uses log scales where small values matter; then learns rounding and scales module by module.",
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
