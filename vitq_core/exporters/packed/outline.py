"""Whether a file holds the model that its description names, found out before any of it takes memory.

The architecture is built on torch's meta device, where tensors have shapes and no numbers, and takes a
picture there. So the file is compared with what the model really is, and nothing is left to fail later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ...common.hooks import hooked
from ...graph.parts import left_out
from ...graph.prepared import PreparedModel
from ...graph.site import INPUT, OUTPUT, SECOND, Layer, Site
from ...graph.tracing import trace_layers
from ...quantized.simulation import Simulation
from ...tasks import task_of
from .container import Stored
from .contents import check_tensors, float_names
from .description import Description

META = "meta"
DERIVED = 64 << 20  # bytes of what a model makes for itself when it is built: indexes of positions in windows
# Numbers in the largest output of a layer, for one picture; or so many for each weight, of which the widest
# attention of Segment Anything's vit_b has two.
OUTPUTS, OUTPUTS_OF_WEIGHT = 1 << 26, 64
Hook = tuple[nn.Module, Callable[[nn.Module, tuple[Tensor, ...]], None]]


@dataclass(frozen=True)
class Outline:
    """``layers``: as the forward runs them; ``shapes``: of the tensor at each site, 1 for the pictures of a
    batch."""

    layers: dict[str, Layer]
    shapes: dict[str, tuple[int, ...]]

    @property
    def macs(self) -> int:
        """Of one picture."""
        return sum(layer.macs for layer in self.layers.values())

    @property
    def largest(self) -> int:
        """How many numbers the largest output of a layer has."""
        return max((layer.outputs for layer in self.layers.values()), default=0)


def outlined(description: Description, stored: Stored) -> Outline:
    """Raises ValueError, or whatever building raises, where ``stored`` does not hold the described model."""
    _check_repeats(description, stored)
    with torch.device(META):
        module = description.family.build(description.config)
    module.to(META).requires_grad_(False)  # what was made of a list is elsewhere
    _check_derived(module)
    check_tensors(description, module, stored)  # before a forward, which makes indexes as large as they say
    outline = _traced(description, module)
    _check_layers(description, outline)
    simulation = simulated(description, module)
    if tuple(simulation.between) != description.between:
        raise ValueError("its tensors between layers are not those of the architecture")
    restore_quantizers(simulation, description, stored, outline.shapes)
    for name in float_names(description, stored):
        if not torch.isfinite(stored.read(name)).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    return outline


def simulated(description: Description, module: nn.Module) -> Simulation:
    """``module`` with a quantizer, not fitted yet, at every site of the description."""
    prepared = PreparedModel(
        module, description.family, description.layers, description.input_size, task_of(module)
    )
    simulation = Simulation(prepared, description.recipe)
    simulation.attach()
    return simulation


def restore_quantizers(
    simulation: Simulation, description: Description, stored: Stored, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Raises ValueError for parameters and settings that no fitting makes."""
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        found = {name: stored.read(f"{site}.{name}").clone().float() for name in quantizer.PARAMETERS}
        try:
            quantizer.restore(found, description.quantizers[str(site)], shapes[str(site)])
        except ValueError as error:
            raise ValueError(f"the quantizer of {site}: {error}") from error


def _check_repeats(description: Description, stored: Stored) -> None:
    for count in description.family.repeats(description.config):
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= len(stored.kinds):
            raise ValueError(f"{count!r:.20} parts cannot be made of its {len(stored.kinds)} tensors")


def _check_derived(module: nn.Module) -> None:
    kept = module.state_dict().keys()
    derived = sum(b.numel() * b.element_size() for name, b in module.named_buffers() if name not in kept)
    if derived > DERIVED:
        raise ValueError(f"the indexes of its windows would take {derived:,} bytes")


def _traced(description: Description, module: nn.Module) -> Outline:
    """Raises ValueError for a model that takes no pictures of the described size."""
    family, size = description.family, description.input_size
    own_size = family.input_size(module)
    if own_size is not None and own_size != size:
        raise ValueError(f"input_size is {size}, but the model takes pictures of {own_size}")
    sites, inputs, outputs = _candidates(description, module), {}, {}

    def noting(name: str) -> Hook:
        def note(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            inputs[name] = [(1, *x.shape[1:]) for x in given if isinstance(x, Tensor)]

        return module.get_submodule(name), note

    def noting_output(name: str) -> tuple[nn.Module, Callable]:
        def note(_: nn.Module, given: object, output: object) -> None:
            outputs[name] = (1, *output.shape[1:]) if isinstance(output, Tensor) else ()

        return module.get_submodule(name), note

    names = dict.fromkeys(site.module for site in (*sites, *description.between))
    after = [noting_output(site.module) for site in description.between if site.tensor == OUTPUT]
    with hooked(*after, before=[noting(name) for name in names]):
        layers = trace_layers(module, sites, task_of(module).outline(size))
    shapes = {}
    for name, layer in layers.items():
        shapes |= {str(site): shape for site, shape in zip(layer.inputs, inputs[name], strict=False)}
        if layer.weight is not None:
            shapes[str(layer.weight)] = tuple(module.get_submodule(name).weight.shape)
    for site in description.between:
        given = outputs if site.tensor == OUTPUT else inputs
        shapes[str(site)] = given[site.module] if site.tensor == OUTPUT else given[site.module][_place(site)]
    return Outline(layers, shapes)


def _place(site: Site) -> int:
    return (INPUT, SECOND).index(site.tensor)


def _candidates(description: Description, module: nn.Module) -> list[Site]:
    """The sites that the recipe quantizes where the forward reaches them."""
    family, options = description.family, description.recipe.options
    sites = [*family.sites(module), *(family.head_sites(module) if options.heads is not None else ())]
    others = left_out(family, module, options.parts)
    return [site for site in sites if site.module not in others]


def _check_layers(description: Description, outline: Outline) -> None:
    """By all but what depends on how many prompts there were."""
    if [*description.layers] != [*outline.layers]:
        raise ValueError("its layers are not those of the architecture")
    weights = sum(layer.params for layer in outline.layers.values())
    if outline.largest > max(OUTPUTS, OUTPUTS_OF_WEIGHT * weights):
        raise ValueError(f"a layer would give {outline.largest:,} numbers, of a model of {weights:,} weights")
    for name, layer in description.layers.items():
        own = outline.layers[name]
        if replace(layer, macs=own.macs, outputs=own.outputs) != own:
            raise ValueError(f"its layer {name} is not that of the architecture")
