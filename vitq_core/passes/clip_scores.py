"""Perceptual clipping (SAQ-SAM, arXiv 2503.06515): ranges by what the decoder's attentions look at.

The inputs of the layers that make queries and keys, then queries and keys themselves, are cut to the
quantiles with which most of what an attention attends to stays the same. Nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import Tensor, nn

from ..data.store import Scratch
from ..graph.site import ScoredAttention, Site, Unit
from ..quantized.simulation import Simulation
from ..quantizers import Uniform
from ..quantizers.kernels.uniform import scale_and_zero_point
from ..quantizers.statistics import even_stride, grouped
from ..recipes.steps import CALIBRATED, CLIPPED, add_pass
from ..reconstruction.unit_inputs import UnitData, UnitInputs
from .base import Run

QUANTILES = tuple(0.85 + 0.15 * (1 - 0.745**k) for k in range(29))  # from 0.85 to 0.99996, closer at the end
PICTURES = 8  # that judge
SAMPLE = 2**18  # values whose quantiles are taken
LOOKED_AT = 0.5  # of a row's maximum: more is attended to
Pairs = list[tuple[Tensor, Tensor]]  # what queries and keys are made of, [P, tokens, C] each, by picture


def _any(run: Run) -> bool:
    return bool(_attentions(run))


def _attentions(run: Run) -> list[ScoredAttention]:
    found = run.prepared.family.scored_attentions(run.prepared.module)
    return [each for each in found if each.product in run.prepared.layers]


@add_pass("clip_scores", needs=(CALIBRATED,), gives=(CLIPPED,), weight=6.0, when=_any)
def clip_scores(run: Run) -> None:
    """Attention after attention, with those before it clipped already."""
    simulation, found = run.simulation, _attentions(run)
    units = {Unit(each.name): each for each in found}
    with Scratch() as scratch, torch.no_grad():
        pictures = run.pictures.kept(PICTURES, scratch)
        blocks = simulation.family.blocks(simulation.module)
        inputs = UnitInputs(simulation.module, run.fp_model, [*units], blocks, pictures)
        for index, (unit, gather) in enumerate(inputs):
            said = f"Clipping what attentions compare ({index + 1} of {len(units)})"
            run.monitor.report(index / len(units), said)
            with closing(gather()) as data:
                _clip(simulation, run.fp_model, units[unit], data)


def _clip(simulation: Simulation, fp_model: nn.Module, attention: ScoredAttention, data: UnitData) -> None:
    module = simulation.layer(attention.name)
    wanted = [looked_at(w) for w in _weights(fp_model.get_submodule(attention.name), _pairs(data.fp_input))]
    pairs = _pairs(data.quant_input)

    def agreement() -> float:
        found = [looked_at(weights) for weights in _weights(module, pairs)]
        return sum(float(overlap(*each)) for each in zip(found, wanted, strict=True)) / len(wanted)

    for site, tensors in _sites(simulation, attention, module, pairs):
        quantizer = simulation.quantizer(site)
        if type(quantizer) is Uniform:
            _best_quantile(quantizer, tensors(), agreement)


def _sites(
    simulation: Simulation, attention: ScoredAttention, module: nn.Module, pairs: Pairs
) -> list[tuple[Site, Callable[[], Sequence[Tensor]]]]:
    """In the order in which they are clipped, each with what reaches it."""
    layers = simulation.layers
    first, second = layers[attention.product].inputs
    return [
        (layers[attention.query].inputs[0], lambda: [query for query, _ in pairs]),
        (layers[attention.key].inputs[0], lambda: [key for _, key in pairs]),
        (first, lambda: [module.compared(*pair)[0] for pair in pairs]),
        (second, lambda: [module.compared(*pair)[1] for pair in pairs]),
    ]


def _best_quantile(quantizer: Uniform, tensors: Sequence[Tensor], agreement: Callable[[], float]) -> None:
    """Keeps the calibrated range where no other is better."""
    axes = () if quantizer.axis is None else (quantizer.axis,)
    groups = torch.cat([grouped(x, axes) for x in tensors], dim=1)
    few = groups[:, :: even_stride(groups.numel(), groups.shape[1], SAMPLE)].sort(dim=1).values
    shape = quantizer.scale.shape
    best, kept = agreement(), (quantizer.scale, quantizer.zero_point)
    for quantile in QUANTILES:
        last = few.shape[1] - 1
        low, high = few[:, round((1 - quantile) * last)], few[:, round(quantile * last)]
        found = scale_and_zero_point(low.clamp_max(0), high.clamp_min(0), quantizer.bits)
        quantizer.set_parameters(*(each.reshape(shape) for each in found))
        if (agreed := agreement()) > best:
            best, kept = agreed, (quantizer.scale, quantizer.zero_point)
    quantizer.set_parameters(*kept)


def _pairs(inputs: object) -> Pairs:
    """Of every picture."""
    numbers = torch.arange(len(inputs)).split(1)
    return [inputs[number][0][:2] for number in numbers]


def _weights(module: nn.Module, pairs: Pairs) -> list[Tensor]:
    return [module.weights(*pair) for pair in pairs]


def looked_at(weights: Tensor) -> Tensor:
    """Where attention [P, heads, tokens, others] is above half of its row's maximum."""
    return weights > LOOKED_AT * weights.amax(-1, keepdim=True)


def overlap(found: Tensor, wanted: Tensor) -> Tensor:
    """The mean IoU over prompts and heads."""
    common, every = (both.flatten(2).sum(-1).float() for both in (found & wanted, found | wanted))
    return (common / every.clamp_min(1)).mean()
