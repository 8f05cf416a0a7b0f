"""LRP-QViT (arXiv 2401.11243): CRL with more bits where relevance says so, by two policies."""

from dataclasses import replace

from .recipe import RECIPES
from .repq import CRL

RECIPES.register("lrp")(
    replace(
        CRL,
        name="lrp",
        title="LRP-QViT",
        summary="Per-channel (CRL) with one bit more in the first two blocks and one less in the layers that "
        "matter least to the answer.",
        passes=("allocate_paper", *CRL.passes),
    )
)

RECIPES.register("lrp-budget")(
    replace(
        CRL,
        name="lrp-budget",
        title="Smart bit budget",
        summary="Per-channel (CRL) with more bits where they matter to the answer and fewer elsewhere; the "
        "average stays what you choose.",
        passes=("allocate_budget", *CRL.passes),
    )
)
