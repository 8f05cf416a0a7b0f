"""Which quantizer each site gets, where a recipe names several: that with the least error of the output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from .allocation.allocate import first_pictures
from .calibration import CalibrationPictures
from .monitor import Monitor
from .noise import with_weight
from .numerics import plain_arithmetic
from .recipe import Recipe, Use
from .relevance.subject import subject_of
from .simulation import make_quantizer
from .site import WEIGHT, Layer, Site


@plain_arithmetic
def choose_quantizers(
    module: nn.Module, recipe: Recipe, pictures: CalibrationPictures, monitor: Monitor
) -> Recipe:
    """``recipe`` with a rule of its own for each site that it names alternatives for.

    Each candidate alone quantizes its site in a full-precision forward of the first pictures; the squared
    error of the layer's output decides.
    """
    subject = subject_of(module, "quantize", pictures.first)
    chosen: dict[str, Use] = {}

    def watch(layer: Layer) -> Callable:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            monitor.report(len(chosen) / len(sites), f"choosing quantizers: {layer.name}")
            for site in layer.sites:
                uses = recipe.alternatives_for(site)
                if uses:
                    errors = [_error(recipe, site, use, part, layer, inputs, output) for use in uses]
                    chosen[str(site)] = uses[errors.index(min(errors))]

        return hook

    sites = [site for layer in subject.layers.values() for site in layer.sites]
    hooks = [
        subject.module.get_submodule(name).register_forward_hook(watch(layer))
        for name, layer in subject.layers.items()
    ]
    try:
        with torch.no_grad():
            subject.module(first_pictures(pictures, subject))
    finally:
        for hook in hooks:
            hook.remove()
    return replace(recipe, rules={**chosen, **recipe.rules})


def _error(
    recipe: Recipe,
    site: Site,
    use: Use,
    part: nn.Module,
    layer: Layer,
    inputs: tuple[Tensor, ...],
    output: Tensor,
) -> float:
    quantizer = make_quantizer(replace(recipe, rules={"*": use}), site)
    if site.tensor == WEIGHT:
        with with_weight(part, quantizer.fit(part.weight)(part.weight)):
            noisy = part.forward(*inputs)
    else:
        index = [other.tensor for other in layer.inputs].index(site.tensor)
        simulated = quantizer.fit(inputs[index])(inputs[index])
        noisy = part.forward(*inputs[:index], simulated, *inputs[index + 1 :])
    return float((noisy - output).square().sum())
