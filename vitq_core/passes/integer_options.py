"""What of FQ-ViT (arXiv 2111.13824) may be chosen, and the rules of its recipe that say so."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..common.options import check_given, one_of, option, optional, switch, whole
from ..graph.site import STREAM
from ..recipes.recipe import Recipe, Use, check_bits

OBSERVERS = {  # {what an option calls it: the range that it is}
    "minmax": "minmax", "ema": "ema", "percentile": "running_percentile", "omse": "last_batch",
}  # fmt: skip
POST_SOFTMAX = "post_softmax"


def _bits(name: str, value: Any) -> int:
    return check_bits(value, name)


@dataclass(frozen=True)
class IntegerOptions:
    """What FQ-ViT's code calls --lis, --ptf, --quant-method and the bits of its attention map."""

    # attention as powers of two, by a softmax of whole numbers; otherwise a float one, evenly spaced values
    lis: bool = option(True, "", switch, short="integer softmax")
    # scales of channels are powers of two of each other, LayerNorm of whole numbers; otherwise one, and float
    ptf: bool = option(True, "", switch, short="integer LayerNorm")
    softmax_bits: int = option(4, "", _bits, short="attention bits")  # of attention values
    observer: str = option(
        "minmax", "", one_of(tuple(OBSERVERS)), short="observer"
    )  # what a tensor's range is made of
    # pictures a batch of what is observed, None: as calibration has them; searches see the last one alone
    observed_batch: int | None = option(None, "", optional(whole(1)))
    # the published code's slip: in the last batch the softmax is of whole numbers already, nothing else is
    early_softmax: bool = option(False, "", switch)

    def __post_init__(self) -> None:
        check_given(self)


def with_options(recipe: Recipe, options: IntegerOptions) -> Recipe:
    """``recipe`` with the rules that ``options`` ask for."""
    rules = {role: _ranged(use, OBSERVERS[options.observer]) for role, use in recipe.rules.items()}
    plain = Use("affine", {"range": OBSERVERS[options.observer]})
    rules[POST_SOFTMAX] = replace(
        recipe.rules[POST_SOFTMAX] if options.lis else plain, bits=options.softmax_bits
    )
    if not options.ptf:
        rules[STREAM] = plain
    return replace(recipe, rules=rules)


def _ranged(use: Use, found: str) -> Use:
    return replace(use, options={**use.options, "range": found}) if use.quantizer == "affine" else use
