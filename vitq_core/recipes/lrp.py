"""LRP-QViT (arXiv 2401.11243): CRL with more bits where relevance says so, by two policies."""

from dataclasses import replace

from .recipe import RECIPES
from .repq import CRL

RECIPES.register("lrp")(
    replace(
        CRL,
        name="lrp",
        title="LRP-QViT",
        summary="CRL with mixed bits as published: one more in the first two blocks, one less in the layers "
        "that matter least to the answer.",
        passes=("allocate_paper", *CRL.passes),
    )
)

RECIPES.register("lrp-budget")(
    replace(
        CRL,
        name="lrp-budget",
        title="LRP budget",
        summary="CRL with mixed bits from an exact program: the average stays, and each layer gets what its "
        "relevance and its measured error call for.",
        passes=("allocate_budget", *CRL.passes),
    )
)
