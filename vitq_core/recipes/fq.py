"""FQ-ViT (arXiv 2111.13824): everything is quantized, what blocks hand on included."""

from ..graph.site import BETWEEN, STREAM
from .recipe import RECIPES, Recipe, Use

WEIGHT = Use("uniform", {"axis": 0, "range": "signed"})
EVENLY = Use("affine", {"range": "minmax"})
EVERYTHING = {"*:weight": WEIGHT, **dict.fromkeys(BETWEEN, EVENLY)}

RECIPES.register("fq")(
    Recipe(
        name="fq",
        title="FQ-ViT",
        summary="Rounds everything, also what other methods keep exact: softmax, LayerNorm and the sums "
        "between layers. For chips without floating point; needs 6 bits or more.",
        rules={
            **EVERYTHING,
            STREAM: Use("power_of_two"),
            "post_softmax": Use("log_sqrt2", {"base": 2.0, "range": "unit"}, bits=4),
            "*": EVENLY,
        },
        passes=("observe_integers",),
    )
)
