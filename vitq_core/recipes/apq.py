"""APQ-ViT (arXiv 2303.14341): affine quantizers, searched by what they do to their block's output."""

from .baselines import IMAGE
from .recipe import RECIPES, Recipe, Use

EVEN = Use("uniform", {"range": "minmax"})
HEADS = Use("uniform", {"axis": 1, "range": "minmax"})  # [pictures, heads, …]: a range for each head

RECIPES.register("apq")(
    Recipe(
        name="apq",
        title="APQ-ViT",
        summary="Chooses every range by what it does to a whole block of layers, leaving the smallest errors "
        "out; attention values are spaced evenly up to the largest.",
        rules={
            "*.qkv:weight": Use("row_groups", {"groups": 3}),
            "*patch_embed.proj:weight": Use("uniform", {"axis": 0, "range": "minmax"}),
            "*:weight": EVEN,
            "image": IMAGE,
            "query": HEADS,
            "key": HEADS,
            "post_softmax": HEADS,
            "value": HEADS,
            "post_gelu": Use("twin_gelu"),
            "*": EVEN,
        },
        passes=("block_search",),
    )
)
