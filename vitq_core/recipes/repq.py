"""RepQ-ViT (arXiv 2212.08254) and the CRL part of LRP-QViT (arXiv 2401.11243)."""

from .baselines import IMAGE
from .recipe import RECIPES, Recipe, Use

RULES = {
    "*:weight": Use("uniform", {"axis": 0}),
    "image": IMAGE,
    "post_layernorm": Use("uniform", {"axis": -1}),
    "post_softmax": Use("log_sqrt2"),
    "*": Use("uniform"),
}

RECIPES.register("repq")(
    Recipe(
        name="repq",
        title="RepQ-ViT",
        summary="Evens out the channels of a layer by moving their differences into the weights, so that "
        "one scale fits all; small attention values get finer steps.",
        rules=RULES,
        passes=("calibrate", "reparameterize_mean"),
    )
)

CRL = RECIPES.register("crl")(
    Recipe(
        name="crl",
        title="Per-channel (CRL)",
        summary="Like RepQ-ViT, but every channel keeps a scale of its own; only extreme scales are changed.",
        rules=RULES,
        passes=("calibrate", "reparameterize_clip"),
    )
)
