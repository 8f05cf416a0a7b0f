"""The recipe nearest to a given one whose every tensor is evenly spaced, as integer kernels need it."""

from __future__ import annotations

from dataclasses import replace

from ..graph.site import BETWEEN
from ..quantizers import kind_of
from .options import Options
from .recipe import MAX_BITS, Recipe, Use

WEIGHTS, CHANNELS = "*:weight", -1
COLLAPSE = "reparameterize_mean"  # one scale for all channels of a norm, as RepQ-ViT
RESCALING = ("reparameterize_clip", "reparameterize_judged", COLLAPSE)


def integer_form(recipe: Recipe) -> Recipe:
    """``recipe`` with what has no integer form replaced by what is nearest: logarithms and kept extremes by
    evenly spaced values at 8 bits, a scale for each head or position by one for all, and the scales of a
    norm's channels moved into the weights; what lies between layers stays in floating point, and ranges are
    then measured as in other recipes. The same recipe where nothing of that is in it.
    """
    rules = {
        pattern: _on_grid(pattern, use) for pattern, use in recipe.rules.items() if pattern not in BETWEEN
    }
    passes = ("calibrate",) if recipe.whole else _collapsed(recipe.passes, rules)
    if rules == dict(recipe.rules) and passes == recipe.passes:
        return recipe
    changed = replace(
        recipe, rules=rules, passes=passes, options=Options(), title=f"{recipe.title}, integer form"
    )
    options = recipe.options
    owned = {name: value for name, value in options.owned.items() if name in changed.applies}
    return replace(changed, options=Options(options.effort, options.reconstruction, **owned))


def _on_grid(pattern: str, use: Use) -> Use:
    if pattern == WEIGHTS or pattern.endswith(":weight"):
        return use
    if not kind_of(use.quantizer).on_grid:
        return Use("uniform", bits=MAX_BITS)
    if use.quantizer == "affine":
        return replace(use, quantizer="uniform")
    if use.options.get("axis") in (None, CHANNELS):
        return use
    return replace(use, options={key: value for key, value in use.options.items() if key != "axis"})


def _collapsed(passes: tuple[str, ...], rules: dict[str, Use]) -> tuple[str, ...]:
    """With one rescaling, the one that leaves a single scale, where norms have a scale for each channel."""
    if not any(use.options.get("axis") == CHANNELS for use in rules.values()):
        return passes
    found = tuple(COLLAPSE if name in RESCALING else name for name in passes)
    if COLLAPSE in found:
        return found
    after = found.index("calibrate") + 1
    return (*found[:after], COLLAPSE, *found[after:])
