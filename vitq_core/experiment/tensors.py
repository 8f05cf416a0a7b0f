"""The tensors of a model as they really are, and what a quantizer makes of one: to look at, and to try."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.hooks import hooked
from ..common.monitor import Monitor, Progress
from ..data.batches import streamed
from ..graph.prepared import PreparedModel, peeked, prepare
from ..graph.site import WEIGHT, NormPair, Site
from ..models import Model
from ..passes.reparameterize import ClipOptions, clipped, rescaling
from ..quantized.simulation import make_quantizer
from ..quantizers import Quantizer, Uniform
from ..recipes.recipe import Recipe

PICTURES = 4  # whose tensors are kept
CLIPS = "reparameterize_clip"  # the pass that moves clipped scales into weights
MOST = 2**20  # values kept of a tensor; of large ones those of fewer pictures
JUDGED = 16  # pictures that say how much of the final error a layer causes


@dataclass(frozen=True, eq=False)
class Tensors:
    """A rewritten copy of a model, and what reached its layers: {site: [pictures, …]}."""

    prepared: PreparedModel
    inputs: Mapping[Site, Tensor]

    @property
    def sites(self) -> dict[str, Site]:
        """{``layer:tensor``: site} in the model's order, weights too."""
        return {str(site): site for layer in self.prepared.layers.values() for site in layer.sites}

    def values(self, site: Site) -> Tensor:
        """Its tensor, float: of an input [pictures, …], of a weight as it is."""
        if site.tensor == WEIGHT:
            return self.prepared.module.get_submodule(site.module).weight.detach()
        return self.inputs[site]

    def pair_before(self, site: Site) -> NormPair | None:
        """The LayerNorm whose output the tensor is, if its scales may be moved."""
        layers, family = self.prepared.layers, self.prepared.family
        for pair in family.pairs(self.prepared.module):
            if (
                pair.linears[0] in layers
                and site == layers[site.module].inputs[0]
                and site.module in pair.linears
            ):
                return pair
        return None

    @property
    def bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.inputs.values())


@dataclass(frozen=True, eq=False)
class Attempt:
    """A tensor through a quantizer. ``error``: ‖x − x̂‖² / ‖x‖²; ``kept``: share of values that stay exact.

    ``levels``: what codes of the first group stand for, sorted. ``clip_k``: where the method moves the
    channels' scales into the weights behind, clipped at so many deviations; ``values`` are then the rescaled
    ones, and ``output_error`` is the layer's, ‖Wx − Ŵx̂‖² / ‖Wx‖². None elsewhere.
    """

    quantizer: Quantizer
    values: Tensor
    simulated: Tensor
    error: float
    kept: float
    effective_bits: float
    levels: Tensor
    clip_k: float | None = None
    output_error: float | None = None


def tensors_of(model: Model, images: object, count: int = PICTURES) -> Tensors:
    """Of the first ``count`` pictures, in one forward pass of a copy.

    Raises ValueError for pictures that do not fit, VitqError for a model of no known family.
    """
    first, images = peeked(images, model, "tensors_of")
    prepared = prepare(model, "tensors_of", first)
    kept: dict[Site, Tensor] = {}

    def watch(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            for site, x in zip(prepared.layers[name].inputs, inputs, strict=False):
                pictures = max(1, min(len(x), MOST * len(x) // max(x.numel(), 1)))
                kept[site] = x.detach()[:pictures].clone()

        return hook

    module = prepared.module
    batch = next(iter(streamed(images, prepared.collate, count)))[:count]
    watching = [(module.get_submodule(name), watch(name)) for name in prepared.layers]
    with torch.no_grad(), hooked(before=watching):
        batch.through(module)
    return Tensors(prepared, kept)


def attempt(tensors: Tensors, site: Site, recipe: Recipe, bits: int | None = None) -> Attempt:
    """The quantizer that ``recipe`` wants at ``site``, fitted to the tensor by its own squared error.

    Behind a LayerNorm whose scales ``recipe`` clips: the clipped one, with the k that it names, or the
    candidate with the least error of the layer's output.
    """
    quantizer = make_quantizer(recipe, site, bits)
    values, k, output_error = tensors.values(site).float(), None, None
    with torch.no_grad():
        quantizer.fit(values)
        pair = tensors.pair_before(site) if CLIPS in recipe.passes else None
        if pair is not None:
            options = ClipOptions(**recipe.options.given_to(ClipOptions))
            tried = {each: clipped(quantizer, each, options.collapse) for each in options.candidates}
            judged = {
                each: _output_error(tensors, pair.linears[0], recipe, quantizer, target)
                for each, target in tried.items()
            }
            k = min(judged, key=judged.__getitem__)
            output_error = _output_error(tensors, site.module, recipe, quantizer, tried[k])
            divisor, shift = rescaling(quantizer, tried[k])
            quantizer, values = tried[k], (values + shift) / divisor
        simulated = quantizer(values)
        error = _lost(values, simulated)
        levels = quantizer.levels().detach().flatten().cpu()
    return Attempt(
        quantizer, values, simulated, error, float(getattr(quantizer, "outlier_ratio", 0.0)),
        float(quantizer.effective_bits), levels, k, output_error,
    )  # fmt: skip


def _output_error(tensors: Tensors, name: str, recipe: Recipe, current: Uniform, target: Uniform) -> float:
    """Of the layer ``name``, whose weight takes over the scales that ``target`` does not have."""
    layer = tensors.prepared.layers[name]
    x, weight = tensors.values(layer.inputs[0]).float(), tensors.values(layer.weight).float()
    divisor, shift = rescaling(current, target)
    rescaled = weight * divisor
    simulated = make_quantizer(recipe, layer.weight).fit(rescaled)(rescaled)
    found = target((x + shift) / divisor) @ simulated.T - shift @ weight.T
    return _lost(x @ weight.T, found)


def _lost(exact: Tensor, found: Tensor) -> float:
    return float((exact - found).square().sum() / exact.square().sum().clamp_min(1e-30))


def errors_alone(
    model: Model,
    images: object,
    recipe: Recipe,
    progress: Progress | None = None,
    cancel: object = None,
) -> dict[str, float]:
    """{layer: how far the model's answers move when this layer alone is quantized}, by its task's loss as a
    share of that of zeros. A forward pass for each layer; the first ``JUDGED`` pictures. Raises Cancelled.
    """
    monitor = Monitor(progress, cancel)
    first, images = peeked(images, model, "errors_alone")
    prepared = prepare(model, "errors_alone", first)
    module, task = prepared.module, prepared.task
    batch = next(iter(streamed(images, prepared.collate, JUDGED)))[:JUDGED]
    found: dict[str, float] = {}
    with torch.no_grad():
        expected = task.run(module, batch)
        scale = float(task.loss({name: torch.zeros_like(x) for name, x in expected.items()}, expected))
        for done, name in enumerate(prepared.layers):
            monitor.report(done / len(prepared.layers), f"Quantizing {name} alone")
            with _quantized_alone(prepared, name, recipe):
                found[name] = float(task.loss(task.run(module, batch), expected)) / max(scale, 1e-30)
    monitor.done("Done")
    return found


@contextmanager
def _quantized_alone(prepared: PreparedModel, name: str, recipe: Recipe) -> Iterator[None]:
    """Inside, this layer's inputs and weight go through quantizers that are fitted to what they get."""
    layer, part = prepared.layers[name], prepared.module.get_submodule(name)
    quantizers = [make_quantizer(recipe, site) for site in layer.inputs]

    def through(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        simulated = [quantizer.fit(x)(x) for quantizer, x in zip(quantizers, inputs, strict=False)]
        return (*simulated, *inputs[len(simulated) :])

    kept = part.weight if layer.weight is not None else None
    if kept is not None:
        simulated = make_quantizer(recipe, layer.weight).fit(kept.detach())(kept.detach())
        part.weight = nn.Parameter(simulated, requires_grad=False)
    handle = part.register_forward_pre_hook(through)
    try:
        yield
    finally:
        handle.remove()
        if kept is not None:
            part.weight = kept
