"""The error of a layer's output when one of its operands is quantized, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.hooks import hooked
from ..common.monitor import Monitor
from ..graph.site import Layer
from ..quantizers import Quantizer
from ..quantizers.judges import Judge
from ..recipes.recipe import Recipe
from .samples import input_judges, sample_of
from .simulation import make_quantizer

APART = 4  # pictures that are measured where each runs alone
RANKED = 2**16  # values that a quantizer's range is chosen on
OutputError = dict[int, Tensor]  # bits → ‖O − Ô‖² / ‖O‖² per picture [B]


@dataclass
class LayerError:
    """``act``: with all inputs quantized; ``weight``: with the weight quantized, empty without one.

    ``parameter_bytes``: what the quantizers of weight and inputs take in a file, at most.
    """

    act: OutputError
    weight: OutputError
    parameter_bytes: int

    @classmethod
    def joined(cls, errors: Sequence[LayerError]) -> LayerError:
        """Of all pictures that were measured one by one."""

        def together(parts: list[OutputError]) -> OutputError:
            return {b: torch.cat([part[b] for part in parts]) for b in parts[0]}

        act, weight = (together([getattr(error, name) for error in errors]) for name in ("act", "weight"))
        return cls(act, weight, max(error.parameter_bytes for error in errors))

    @property
    def parts(self) -> tuple[OutputError, ...]:
        return tuple(part for part in (self.act, self.weight) if part)


def output_errors(
    module: nn.Module,
    layers: dict[str, Layer],
    recipe: Recipe,
    pictures: Batch,
    bits: tuple[int, ...],
    measured: int = 8,
    monitor: Monitor | None = None,
) -> dict[str, LayerError]:
    """One full-precision forward of a rewritten ``module`` on ``pictures``, measuring on the way.

    The recipe's quantizers are fitted on all pictures, the error is measured on ``measured`` of them. Raises
    ValueError for a model that is quantized already.
    """
    if hasattr(module, "vitq"):
        raise ValueError("this model is quantized already: output error is measured on the float one")
    monitor = monitor or Monitor()
    if isinstance(pictures.args[0], Tensor):
        return _together(module, layers, recipe, pictures, bits, measured, monitor)
    few = [*pictures.split(1)][:APART]
    shares = (monitor.part(i / len(few), (i + 1) / len(few)) for i in range(len(few)))
    found = [
        _together(module, layers, recipe, one, bits, 1, part) for one, part in zip(few, shares, strict=True)
    ]
    return {name: LayerError.joined([errors[name] for errors in found]) for name in layers}


def _together(
    module: nn.Module,
    layers: dict[str, Layer],
    recipe: Recipe,
    pictures: Batch,
    bits: tuple[int, ...],
    measured: int,
    monitor: Monitor,
) -> dict[str, LayerError]:
    """All pictures in one forward."""
    found: dict[str, LayerError] = {}
    few = slice(None, None, -(-len(pictures) // measured))

    def watch(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            said = f"Measuring rounding noise ({len(found) + 1} of {len(layers)} layers)"
            monitor.report(len(found) / len(layers), said)
            found[name] = _measure(part, layers[name], recipe, inputs, few, bits, len(pictures))

        return hook

    with torch.no_grad(), hooked(*((module.get_submodule(name), watch(name)) for name in layers)):
        pictures.through(module)
    return found


def _measure(
    part: nn.Module,
    layer: Layer,
    recipe: Recipe,
    inputs: tuple[Tensor, ...],
    few: slice,
    bits: tuple[int, ...],
    pictures: int,
) -> LayerError:
    operands = len(layer.inputs)
    shown = [*(x[few] for x in inputs[:operands]), *inputs[operands:]]
    expected = part.forward(*shown)
    fitted = _fitted_sites(part, layer, recipe, inputs, bits, pictures)
    rows = -(-pictures // (few.step or 1))
    act = {
        b: _ratio(
            part.forward(*(fitted[i][b](shown[i]) for i in range(operands)), *shown[operands:]),
            expected,
            rows,
        )
        for b in bits
    }
    weight: OutputError = {}
    if layer.weight is not None:
        for b in bits:
            with _weight(part, fitted[-1][b](part.weight)):
                weight[b] = _ratio(part.forward(*shown), expected, rows)
    kept = [
        each[bits[0]].most_stored_bytes(rescaled=site.role == "post_layernorm")
        for site, each in zip(layer.sites, fitted, strict=False)
    ]
    return LayerError(act, weight, sum(kept))


def _fitted_sites(
    part: nn.Module,
    layer: Layer,
    recipe: Recipe,
    inputs: tuple[Tensor, ...],
    bits: tuple[int, ...],
    pictures: int,
) -> list[dict[int, Quantizer]]:
    """The quantizers of all sites, each at every width."""
    watching = [make_quantizer(recipe, site, bits[0]) for site in layer.sites]
    tensors = [*inputs[: len(layer.inputs)], *([] if layer.weight is None else [part.weight])]
    judges = _judges(part, layer, watching, inputs, pictures)
    return [_fitted(*each, bits) for each in zip(watching, tensors, judges, strict=True)]


def _judges(
    part: nn.Module,
    layer: Layer,
    quantizers: list[Quantizer],
    inputs: tuple[Tensor, ...],
    pictures: int,
) -> list[Judge | None]:
    """For the quantizers of a layer's sites: rougher ones than calibration's, for there are seven widths."""
    if not any(quantizer.judged for quantizer in quantizers):
        return [None] * len(quantizers)
    sample = sample_of(part, pictures)
    if sample is None:
        return [None] * len(quantizers)
    sample.update(inputs, pictures)
    kept = sample.kept()
    if layer.weight is None:
        return input_judges(kept, quantizers, None)
    judges = [*input_judges(kept, quantizers[:-1], part.weight), kept.judge_single_weights(part.weight)]
    return [judge and judge.thinned(RANKED) for judge in judges]


def _fitted(
    watching: Quantizer, x: Tensor, judge: Judge | None, bits: tuple[int, ...]
) -> dict[int, Quantizer]:
    """The quantizer at every width, from statistics gathered once."""
    watching.observe(x)
    watching.statistics.thin(RANKED)  # seven widths to fit: a bit less finely than the one that is used
    quantizers = {b: deepcopy(watching, {id(watching.statistics): watching.statistics}) for b in bits}
    for b, quantizer in quantizers.items():
        quantizer.bits = b
        quantizer.finish(judge)
    return quantizers


def _ratio(actual: Tensor, expected: Tensor, pictures: int) -> Tensor:
    error, signal = (x.reshape(pictures, -1).square().sum(1) for x in (actual - expected, expected))
    return error / signal.clamp_min(1e-30)


@contextmanager
def _weight(part: nn.Module, weight: Tensor) -> Iterator[None]:
    """Inside, ``part`` multiplies with ``weight``."""
    kept = part.weight
    part.weight = nn.Parameter(weight, requires_grad=False)
    try:
        yield
    finally:
        part.weight = kept
