"""What a file tells of its model where nobody says it: its picture size and how it pools."""

from math import isqrt
from typing import Any

from torch import nn

from .fitting import Fit
from .timm_config import Described


def told_by(fit: Fit, outline: nn.Module, described: Described) -> dict[str, Any]:
    """Arguments in which the file of `fit` differs from the `outline`, and that `described` does not say.

    A file's positions are for its own grid. A norm called `fc_norm` in place of `norm` is what timm makes for
    the average of the patches.
    """
    held = {key.removeprefix(fit.prefix): value for key, value in fit.table.tensors.items()}
    found = {}
    positions = held.get("pos_embed")
    if not described.sized and positions is not None and getattr(outline, "pos_embed", None) is not None:
        found |= _size(tuple(positions.shape), outline)
    averages = "fc_norm.weight" in held and "norm.weight" not in held
    if averages and "global_pool" not in described.arguments and outline.global_pool != "avg":
        found["global_pool"] = "avg"
    return found


def _size(shape: tuple[int, ...], outline: nn.Module) -> dict[str, int]:
    """Nothing where the model has as many, or where they make no square."""
    if len(shape) != 3 or shape[1] == outline.pos_embed.shape[1]:
        return {}
    before = 0 if getattr(outline, "no_embed_class", False) else outline.num_prefix_tokens
    side = isqrt(max(0, shape[1] - before))
    if not side or side * side != shape[1] - before:
        return {}
    return {"img_size": side * outline.patch_embed.patch_size[0]}
