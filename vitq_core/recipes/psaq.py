"""PSAQ-ViT's own quantizer (arXiv 2203.02250): min–max at FQ-ViT's points. Its pictures, made from noise by
``vq.generate_images``, serve every recipe."""

from .fq import EVENLY, EVERYTHING
from .recipe import RECIPES, Recipe, Use

RECIPES.register("psaq")(
    Recipe(
        name="psaq",
        title="PSAQ-ViT",
        summary="Like Min–max, but the sums between layers are rounded too; only attention values stay "
        "exact. Made for pictures that are generated from noise, where there are none at hand.",
        rules={**EVERYTHING, "post_softmax": Use("kept"), "*": EVENLY},
        passes=("observe",),
    )
)
