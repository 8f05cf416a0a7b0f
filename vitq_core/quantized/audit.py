"""The audit before every evaluation: each quantizer the recipe asks for is there, fitted and really used.

Published results were wrong for years because half of the activations had silently stayed in floating point.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize

from ..common.batch import Batch
from ..common.errors import VitqError
from ..common.hooks import hooked
from ..graph.parts import left_out
from ..graph.site import OUTPUT, WEIGHT, Layer, Site
from ..quantizers import Quantizer, kind_of
from .between import NAME, quantize_given, quantize_output
from .simulation import Simulation, quantize_inputs


def audit(module: nn.Module, batch: Batch) -> None:
    """Check a quantized ``module`` on the first picture of ``batch``; VitqError names what fails."""
    simulation: Simulation = module.vitq
    complaints = [] if simulation.layers else ["none of its layers has a quantizer"]
    complaints += [
        text for layer in simulation.layers.values() for text in _check_layer(module, simulation, layer)
    ]
    complaints += [text for site in simulation.between for text in _check_between(module, simulation, site)]
    if not complaints:
        complaints = _check_used(module, simulation, batch[:1])
    if complaints:
        more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
        raise VitqError(
            f"the model is not quantized as recipe {simulation.recipe.name!r} says: {complaints[0]}{more}"
        )


def _check_layer(module: nn.Module, simulation: Simulation, layer: Layer) -> list[str]:
    target = module.get_submodule(layer.name)
    complaints = []
    if quantize_inputs not in target._forward_pre_hooks.values():
        complaints.append(f"the inputs of {layer.name} are not quantized")
    if layer.weight is not None and not parametrize.is_parametrized(target, WEIGHT):
        return [*complaints, f"the weight of {layer.name} is not quantized"]
    if layer.weight is not None and not _weight_is_current(target):
        complaints.append(f"the weight of {layer.name} changed after it was quantized")
    if len(getattr(target, "input_quantizers", ())) != len(layer.inputs):
        return [*complaints, f"{layer.name} does not have a quantizer for each input"]
    return complaints + [text for site in layer.sites for text in _check_site(module, simulation, site)]


def _check_between(module: nn.Module, simulation: Simulation, site: Site) -> list[str]:
    target = module.get_submodule(site.module)
    hook, hooks = quantize_given, target._forward_pre_hooks
    if site.tensor == OUTPUT:
        hook, hooks = quantize_output, target._forward_hooks
    if hook not in hooks.values() or site.tensor not in getattr(target, NAME, {}):
        return [f"{site} is not quantized"]
    return _check_site(module, simulation, site)


def _check_site(module: nn.Module, simulation: Simulation, site: Site) -> list[str]:
    use, quantizer = simulation.recipe.use_for(site), quantizer_of(module, simulation, site)
    if type(quantizer) is not kind_of(use.quantizer):
        return [f"{site} has {type(quantizer).__name__} in place of {use.quantizer}"]
    if quantizer.bits != use.bits:
        return [f"{site} has {quantizer.bits} bits in place of {use.bits}"]
    return [] if quantizer.fitted else [f"the quantizer of {site} is not fitted"]


def quantizer_of(module: nn.Module, simulation: Simulation, site: Site) -> Quantizer:
    """The quantizer of ``site`` in ``module``, which may be a copy of the simulation's own."""
    target = module.get_submodule(site.module)
    if site.between:
        return getattr(target, NAME)[site.tensor]
    if site.tensor == WEIGHT:
        return target.parametrizations.weight[0].quantizer
    index = [s.tensor for s in simulation.layers[site.module].inputs].index(site.tensor)
    return target.input_quantizers[index]


def _weight_is_current(target: nn.Module) -> bool:
    """Whether what the layer multiplies with is what its codes stand for."""
    parametrization = target.parametrizations.weight[0]
    shown = parametrization.decoded or parametrization.simulated is not None
    if not shown or not parametrization.quantizer.fitted:
        return False
    with torch.no_grad():
        return torch.equal(parametrization.quantizer(target.parametrizations.weight.original), target.weight)


def _check_used(module: nn.Module, simulation: Simulation, picture: Batch) -> list[str]:
    """Run one picture: every activation quantizer takes part, and no layer of the family without one does."""
    used: set[int] = set()
    sites = [site for layer in simulation.layers.values() for site in layer.inputs] + simulation.between
    quantizers = {site: quantizer_of(module, simulation, site) for site in sites}
    others = left_out(simulation.family, module, simulation.recipe.options.parts)
    bare = {site.module for site in simulation.family.sites(module)} - set(simulation.layers) - others
    others = {name: module.get_submodule(name) for name in sorted(bare)}
    watched = [*quantizers.values(), *others.values()]
    hooks = [(part, lambda part, *_: used.add(id(part))) for part in watched]
    with torch.no_grad(), hooked(*hooks):
        picture.through(module)
    unused = [f"the quantizer of {site} is never used" for site, q in quantizers.items() if id(q) not in used]
    return unused + [f"{name} runs and has no quantizer" for name, part in others.items() if id(part) in used]
