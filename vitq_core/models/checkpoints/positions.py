"""A file's own picture size and pooling, where nobody says them."""

from dataclasses import replace
from math import isqrt
from pathlib import Path

from torch import nn

from ..weight_file import opened
from .building import outlined
from .fitting import best_fit
from .tables import tables_of
from .timm_config import Described


def size_of_positions(path: Path, name: str, asked: Described) -> Described:
    """`asked` with the picture size that the positions at `path` are for, and pooled as its norms say.

    A norm called `fc_norm` in place of `norm` is what timm makes for the average of the patches. Raises
    VitqError for a file without tensors.
    """
    outline = outlined(asked.build(), asked.source)
    fit = best_fit(tables_of(opened(path, name), name), outline)
    held = {key.removeprefix(fit.prefix): value for key, value in fit.table.tensors.items()}
    found = dict(asked.arguments)
    positions = held.get("pos_embed")
    if positions is not None and positions.ndim == 3 and getattr(outline, "pos_embed", None) is not None:
        found |= _size(positions.shape[1], outline)
    if "fc_norm.weight" in held and "norm.weight" not in held:
        found["global_pool"] = "avg"
    return replace(asked, arguments=found)


def _size(positions: int, outline: nn.Module) -> dict[str, int]:
    """Nothing where the model has as many, or where they make no square."""
    if positions == outline.pos_embed.shape[1]:
        return {}
    before = 0 if getattr(outline, "no_embed_class", False) else outline.num_prefix_tokens
    side = isqrt(max(0, positions - before))
    patch = outline.patch_embed.patch_size[0]
    return {"img_size": side * patch} if side and side * side == positions - before else {}
