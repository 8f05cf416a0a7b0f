"""VitQ: what the papers and the field know, put together; docs/measurements.md: what each part is worth."""

from .baselines import IMAGE
from .options import Options
from .recipe import RECIPES, Recipe, Use

HEADS = Use("uniform", {"axis": 1, "range": "least_error"})  # [pictures, heads, …]: a range for each head

RECIPES.register("vitq")(
    Recipe(
        name="vitq",
        title="VitQ",
        summary="Gives sensitive layers more bits where that helps, makes weights up for rounding, then "
        "learns block by block.",
        rules={
            "*:weight": Use("uniform", {"axis": 0, "range": "least_error"}),
            "image": IMAGE,
            "post_layernorm": Use("uniform", {"axis": -1, "range": "tails"}),
            "post_softmax": Use("log_sqrt2", {"base": "fitted", "range": "joint"}),
            "post_gelu": Use("shift_log2", {"base": "fitted", "range": "joint"}),
            "query": HEADS,
            "key": HEADS,
            "decoder_key": HEADS,
            "value": HEADS,
            "*": Use("uniform", {"range": "least_error"}),
        },
        passes=(
            *("centre_heads", "rotate_heads"),
            *("compare_stages", "allocate_budget", "calibrate", "reparameterize_judged", "compensate"),
        ),
        options=Options(
            effort="standard",
            importance="fisher",
            reconstruction={
                "blocks": True,
                "affine_lr": 1e-3,
                "weight_scales": True,
                "kl_lambda": None,
                "drop": 0.0,
                "weighting": "tokens",
                "finish": 0.5,
                "compare": True,
            },
        ),
    )
)
