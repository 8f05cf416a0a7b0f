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
        summary="Moves the spread between channels into the weights, so that one scale per layer fits; "
        "attention on a log scale.",
        rules=RULES,
        passes=("calibrate", "reparameterize_mean"),
    )
)

CRL = RECIPES.register("crl")(
    Recipe(
        name="crl",
        title="CRL",
        summary="Like RepQ-ViT, but keeps a scale per channel and only reins in the extreme ones.",
        rules=RULES,
        passes=("calibrate", "reparameterize_clip"),
    )
)
