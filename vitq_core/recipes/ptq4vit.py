"""PTQ4ViT (arXiv 2111.12293): twin uniform quantizers, scales searched by their effect on the answer."""

from .baselines import IMAGE
from .recipe import RECIPES, Recipe, Use

HEADS = Use("symmetric", {"axis": 1})  # [pictures, heads, …]: a scale for each head

RECIPES.register("ptq4vit")(
    Recipe(
        name="ptq4vit",
        title="PTQ4ViT",
        summary="Spends half of the numbers on small attention values and half on large ones; every step "
        "size is chosen by what it does to the answer.",
        rules={
            "*.qkv:weight": Use("symmetric", {"groups": 3}),
            "*patch_embed.proj:weight": Use("symmetric", {"axis": 0}),
            "*:weight": Use("symmetric"),
            "image": IMAGE,
            "query": HEADS,
            "key": HEADS,
            "post_softmax": Use("twin_softmax"),
            "value": HEADS,
            "post_gelu": Use("twin_gelu"),
            "*": Use("symmetric"),
        },
        passes=("hessian_search",),
    )
)
