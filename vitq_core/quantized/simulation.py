"""A rewritten model with a quantizer on every site: hooks for activations, parametrizations for weights."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..graph.base import Family
from ..graph.prepared import PreparedModel
from ..graph.site import WEIGHT, Layer, Site
from ..quantizers import Quantizer, kind_of
from ..quantizers.judges import Judge
from ..recipes.recipe import Recipe
from .between import NAME, hang, strip, use_integers
from .pickling import make_picklable
from .recording import refuse_recording


def make_quantizer(recipe: Recipe, site: Site, bits: int | None = None) -> Quantizer:
    """An unfitted quantizer as ``recipe`` wants it at ``site``; ``bits`` in place of the recipe's."""
    use = recipe.use_for(site)
    cls = kind_of(use.quantizer)
    return cls(use.bits if bits is None else bits, **{**use.options, **recipe.options.given_to(cls.Options)})


class SimulatedWeight(nn.Module):
    """Parametrization that shows the quantized weight; computed at :meth:`refresh`, not at every forward.

    ``decoded``: the float weight itself is what codes stand for, as in a loaded model. It is then shown, and
    not kept twice.
    """

    decoded = False

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.register_buffer("simulated", None, persistent=False)

    def refresh(self, weight: Tensor) -> None:
        with torch.no_grad():
            self.simulated = self.quantizer(weight)
        self.decoded = False

    def show_decoded(self) -> None:
        """Show the float weight, which its quantizer decoded from codes."""
        self.simulated, self.decoded = None, True

    def forward(self, weight: Tensor) -> Tensor:
        return weight if self.simulated is None else self.simulated


# Made for the layer that reads it: quantizing it in place saves a fresh tensor, most of its cost.
# Not the picture, the residual stream or the pooled features, which belong to others too.
OWN_INPUT = frozenset(
    (
        *("post_layernorm", "post_norm", "query", "key", "post_softmax", "value"),
        *("attention_output", "post_gelu", "mlp_hidden", "decoder_key", "post_relu"),
    )
)


class InputQuantizers(nn.ModuleList):
    """The quantizers of a layer's inputs, in their order; ``overwrite``: which inputs they may reuse."""

    def __init__(self, quantizers: list[Quantizer], overwrite: list[bool]) -> None:
        super().__init__(quantizers)
        self.overwrite = overwrite


def quantize_inputs(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Forward pre-hook: every input through its quantizer, once that is fitted. VitqError where torch records
    what is computed, to export it."""
    refuse_recording()
    quantizers = layer.input_quantizers
    simulated = [
        quantizer(x, overwrite) if quantizer.fitted else x
        for quantizer, x, overwrite in zip(quantizers, inputs, quantizers.overwrite, strict=False)
    ]
    return (*simulated, *inputs[len(quantizers) :])


@dataclass
class Simulation:
    """A prepared model; in the context its sites are quantized, outside it is float.

    The quantizers live on the layers, so that they move, copy and save with the module.
    """

    prepared: PreparedModel
    recipe: Recipe
    _hooks: list = field(default_factory=list)

    @property
    def module(self) -> nn.Module:
        return self.prepared.module

    @property
    def family(self) -> Family:
        return self.prepared.family

    @property
    def layers(self) -> dict[str, Layer]:
        return self.prepared.layers

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the calibration pictures."""
        return self.prepared.input_size

    @cached_property
    def between(self) -> list[Site]:
        """The sites between layers that the recipe quantizes; a layer that does not run has none."""
        found = self.prepared.between if self.recipe.whole else None
        asked = [site for site in found.sites if self.recipe.quantizes(site)] if found else []
        idle = {site.module for site in self.family.sites(self.module)} - set(self.layers) if asked else ()
        return [site for site in asked if site.module not in idle]

    @property
    def attached(self) -> bool:
        return bool(self._hooks)

    def __enter__(self) -> Simulation:
        self.attach()
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def attach(self) -> None:
        """Make and hang up the quantizers that the recipe asks for."""
        for layer in self.layers.values():
            target = self.module.get_submodule(layer.name)
            overwrite = [site.role in OWN_INPUT and not layer.shares_input for site in layer.inputs]
            quantizers = [make_quantizer(self.recipe, site) for site in layer.inputs]
            target.input_quantizers = InputQuantizers(quantizers, overwrite)
            self._hooks.append(target.register_forward_pre_hook(quantize_inputs))
            if layer.weight is not None:
                weight = SimulatedWeight(make_quantizer(self.recipe, layer.weight))
                parametrize.register_parametrization(target, WEIGHT, weight)
                make_picklable(target)
        if self.between:
            self._hooks += hang(self.module, self.between, lambda site: make_quantizer(self.recipe, site))
            self._hooks += use_integers(self.module, self.prepared.between, self.quantizer)

    def detach(self) -> None:
        """Take everything down again: the float model, as it is after the passes that ran."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        strip(self.module, own_quantizers=True)
        for layer in self.layers.values():
            target = self.module.get_submodule(layer.name)
            del target.input_quantizers
            if layer.weight is not None:
                parametrize.remove_parametrizations(target, WEIGHT, leave_parametrized=False)

    def fp_model(self) -> nn.Module:
        """A copy of the module as the passes left it, with the same names, in which nothing is quantized."""
        copy = deepcopy(self.module)
        strip(copy)
        for layer in self.layers.values():
            target = copy.get_submodule(layer.name)
            hooks = target._forward_pre_hooks
            for key in [key for key, hook in hooks.items() if hook is quantize_inputs]:
                del hooks[key]
            if layer.weight is not None:  # removing the parametrization would take it from this module too
                target.parametrizations.weight[0].simulated = None
        return copy

    def plain_model(self) -> nn.Module:
        """As :meth:`fp_model`, of plain layers: as fast, and as easily exported, as before quantization."""
        copy = self.fp_model()
        strip(copy, own_quantizers=True)
        if hasattr(copy, "vitq"):
            del copy.vitq
        for layer in self.layers.values():
            part = copy.get_submodule(layer.name)
            del part.input_quantizers
            if layer.weight is not None:
                weight = part.parametrizations.weight.original
                part.__class__ = parametrize.type_before_parametrizations(part)
                del part.parametrizations
                part.register_parameter(WEIGHT, weight)
        return copy.eval()

    def layer(self, name: str) -> nn.Module:
        return self.module.get_submodule(name)

    def float_weight(self, name: str) -> nn.Parameter:
        """The weight before quantization."""
        return self.layer(name).parametrizations.weight.original

    def simulated_weight(self, name: str) -> SimulatedWeight:
        return self.layer(name).parametrizations.weight[0]

    def quantizer(self, site: Site) -> Quantizer:
        if site.tensor == WEIGHT:
            return self.simulated_weight(site.module).quantizer
        if site.between:
            return getattr(self.layer(site.module), NAME)[site.tensor]
        index = [s.tensor for s in self.layers[site.module].inputs].index(site.tensor)
        return self.layer(site.module).input_quantizers[index]

    def replace_input_quantizer(self, site: Site, quantizer: Quantizer) -> None:
        index = [s.tensor for s in self.layers[site.module].inputs].index(site.tensor)
        self.layer(site.module).input_quantizers[index] = quantizer

    def fit_weight(self, name: str, judge: Judge | None = None) -> None:
        """Fit the weight quantizer of a layer to its float weight and show the result.

        ``judge``: ranks candidates by the layer's output, where the quantizer asks for it.
        """
        weight, parametrization = self.float_weight(name), self.simulated_weight(name)
        with torch.no_grad():
            parametrization.quantizer.fit(weight, judge)
        parametrization.refresh(weight)

    def sites(self) -> Iterator[Site]:
        """Of the layers, then those between them."""
        for layer in self.layers.values():
            yield from layer.sites
        yield from self.between
