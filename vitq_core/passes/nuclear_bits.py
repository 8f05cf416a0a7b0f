"""Mixed precision of "Post-Training Quantization for Vision Transformer" (Liu et al., arXiv 2106.14156): one
width for each attention and each MLP, by the nuclear norm of what it gives.

Minimizes ``Σ ‖Y‖_* · ‖Ŷ − Y‖²`` within the size that equal bits take; Y is an attention's map or an MLP's
output. The paper sorts a Pareto front; the sum is separable, so an integer program is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..allocation.budget import least_harm
from ..common.arithmetic import plain_arithmetic
from ..common.batch import Batch
from ..common.hooks import hooked
from ..common.options import check_given, option, switch
from ..graph.site import Layer, Unit
from ..quantized.output_error import shown_weight
from ..quantized.simulation import make_quantizer
from ..recipes.recipe import MAX_BITS, MIN_BITS
from ..recipes.steps import ALLOCATED, add_pass
from .base import Run

STEPS = (-2, -1, 0, 1, 2)  # bits more than the recipe's
PICTURES = 8  # that maps and outputs are compared on


@dataclass(frozen=True)
class MixedOptions:
    """Of the pass."""

    mixed: bool = option(
        False, "Mixed precision by nuclear norm", switch, short="mixed bits",
        hint="Every attention and every MLP gets bits of its own, at the size that equal bits take.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


def _wanted(run: Run) -> bool:
    return run.options(MixedOptions).mixed


def _check(run: Run) -> None:
    if _wanted(run) and run.recipe.bits:
        raise ValueError(
            "bits=… already says what layers get, so mixed=True would do nothing; give one of them"
        )
    if _wanted(run) and not _units(run):
        raise ValueError("mixed=True needs attentions and MLPs, and this model has none that are known")


@add_pass("nuclear_bits", Options=MixedOptions, gives=(ALLOCATED,), when=_wanted, check=_check, weight=2.0)
@plain_arithmetic
def nuclear_bits(run: Run) -> None:
    """A table of bits for the layers of every attention and MLP; the others keep the recipe's."""
    pictures = run.pictures.first(PICTURES)
    units, harms, sizes = _units(run), {}, {}
    for number, (unit, layers) in enumerate(units.items()):
        run.monitor.report(number / len(units), f"Weighing bits ({number + 1} of {len(units)} parts)")
        harms[unit.name] = {step: harm(run, unit, layers, pictures, step) for step in _steps(run)}
        params = sum(layer.params for layer in layers if layer.weight is not None)
        sizes[unit.name] = {step: params * (run.recipe.weight_bits + step) for step in _steps(run)}
    chosen = least_harm(harms, sizes, sum(each[0] for each in sizes.values()))
    bits = {layer.name: _bits(run, layer, chosen[u.name]) for u, layers in units.items() for layer in layers}
    run.recipe = replace(run.recipe, bits=bits)


def _steps(run: Run) -> list[int]:
    widths = run.recipe.weight_bits, run.recipe.act_bits
    return [step for step in STEPS if all(MIN_BITS <= width + step <= MAX_BITS for width in widths)]


def _bits(run: Run, layer: Layer, step: int) -> tuple[int | None, int]:
    weight = None if layer.weight is None else run.recipe.weight_bits + step
    return weight, run.recipe.act_bits + step


def _units(run: Run) -> dict[Unit, list[Layer]]:
    """The attentions and MLPs with their layers."""
    prepared = run.prepared
    found = {
        unit: [layer for name, layer in prepared.layers.items() if name.startswith(f"{unit.name}.")]
        for unit in prepared.family.units(prepared.module)
    }
    return {unit: layers for unit, layers in found.items() if len(layers) > 1}


def harm(run: Run, unit: Unit, layers: list[Layer], pictures: Batch, step: int) -> float:
    """``‖Y‖_* · ‖Ŷ − Y‖²`` of a unit whose layers alone are quantized, with so many bits more than the
    recipe's, each quantizer fitted by itself: a mean over pictures."""
    module = run.prepared.module
    seen = unit.softmaxes or (unit.name,)
    wanted = _given(module, seen, pictures)
    with _quantized(run, layers, step):
        found = _given(module, seen, pictures)
    pairs = zip(wanted, found, strict=True)
    return sum(float(sensitivity(*pair).sum()) for pair in pairs) / len(pictures)


def sensitivity(reference: Tensor, found: Tensor) -> Tensor:
    """[…]: the nuclear norm of matrices […, rows, columns] times the squared distance of ``found``."""
    norm = torch.linalg.matrix_norm(reference.double(), "nuc")
    return norm * (found.double() - reference.double()).square().sum((-2, -1))


def _given(module: nn.Module, names: tuple[str, ...], pictures: Batch) -> list[Tensor]:
    """What the modules ``names`` give."""
    kept: list[Tensor] = []
    hooks = (
        (module.get_submodule(name), lambda part, inputs, output: kept.append(output.clone()))
        for name in names
    )
    with torch.no_grad(), hooked(*hooks):
        for batch in pictures.split(PICTURES):
            batch.through(module)
    return kept


@contextmanager
def _quantized(run: Run, layers: list[Layer], step: int) -> Iterator[None]:
    """Inside, ``layers`` are quantized with ``step`` bits more, fitted to what reaches them."""
    module, recipe = run.prepared.module, run.recipe
    wider = replace(recipe, weight_bits=recipe.weight_bits + step, act_bits=recipe.act_bits + step)

    def quantizing(layer: Layer) -> Callable:
        quantizers = [make_quantizer(wider, site) for site in layer.inputs]

        def hook(part: nn.Module, inputs: tuple) -> tuple:
            fitted = [q if q.fitted else q.fit(x) for q, x in zip(quantizers, inputs, strict=False)]
            return (*(q(x) for q, x in zip(fitted, inputs, strict=False)), *inputs[len(fitted) :])

        return hook

    parts = {layer: module.get_submodule(layer.name) for layer in layers}
    weights = [
        (parts[layer], make_quantizer(wider, layer.weight)) for layer in layers if layer.weight is not None
    ]
    with ExitStack() as held:
        held.enter_context(hooked(before=[(part, quantizing(layer)) for layer, part in parts.items()]))
        for part, quantizer in weights:
            held.enter_context(shown_weight(part, quantizer.fit(part.weight)(part.weight)))
        yield
