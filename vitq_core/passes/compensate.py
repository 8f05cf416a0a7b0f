"""The compensate pass: every layer's weights make up for its quantized inputs and for their own rounding.

Layers are taken in forward order, each on what the quantized layers before it give, so that it makes up for
their errors too.
"""

from __future__ import annotations

from contextlib import closing

import torch
from torch import Tensor, nn

from ..data.store import Scratch
from ..graph.site import Unit
from ..quantized.samples import rows_of
from ..quantized.simulation import Simulation, quantize_inputs
from ..quantizers import Uniform
from ..recipes.steps import CALIBRATED, COMPENSATED, add_pass
from ..reconstruction.compensation import Grid, Moments, compensated
from ..reconstruction.unit_inputs import UnitData, UnitInputs
from ..reconstruction.weighting import PREFIX
from .base import Run

MOST = 128  # pictures: more would hardly change the moments
EVERY = 4  # picture judges what making up for the others does


@add_pass(
    "compensate", needs=(CALIBRATED,), gives=(COMPENSATED,), weight=20.0,
    optional="making weights up for rounding", doubt=1.0,
)  # fmt: skip
def compensate(run: Run) -> None:
    """Uniform weights of linear layers and convolutions, and their biases; other layers stay as they are."""
    simulation, units = run.simulation, [Unit(name) for name in compensable(run.simulation)]
    with Scratch() as scratch, torch.no_grad():
        pictures = run.pictures.kept(MOST, scratch)
        blocks = simulation.family.blocks(simulation.module)
        inputs = UnitInputs(simulation.module, run.fp_model, units, blocks, pictures, fp_inputs=False)
        for index, (unit, gather) in enumerate(inputs):
            run.monitor.report(
                index / len(units), f"Making up for rounding ({index + 1} of {len(units)} layers)"
            )
            with closing(gather()) as data:
                _compensate(simulation, unit.name, data)


def compensable(simulation: Simulation) -> list[str]:
    """The layers whose weights are rounded to the steps of a uniform grid and meet all of their inputs."""
    layers = [layer for layer in simulation.layers.values() if layer.weight is not None]
    return [
        layer.name
        for layer in layers
        if type(simulation.quantizer(layer.weight)) is Uniform and _is_plain(simulation.layer(layer.name))
    ]


def _is_plain(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def _compensate(simulation: Simulation, name: str, data: UnitData) -> None:
    layer, weight = simulation.layer(name), simulation.float_weight(name)
    parametrization = simulation.simulated_weight(name)
    grid = Grid.of(parametrization.quantizer)
    moments = _moments(layer, data, getattr(simulation.module, "num_prefix_tokens", 0))
    found = compensated(weight.flatten(1), layer.bias, grid, *moments)
    if found is None:
        return
    weight.copy_(grid.beside(found.hard, found.wanted).view_as(weight))
    parametrization.refresh(weight)
    if found.bias is not None:
        layer.bias.copy_(found.bias)


def _moments(layer: nn.Module, data: UnitData, prefix: int) -> tuple[Moments, Moments]:
    """Of the pictures that are made up for, and of every fourth, which judges."""
    known, held = Moments(), Moments()
    for index in torch.arange(len(data.pictures)).split(min(EVERY, data.together)):
        (args, _), target = data.quant_input[index], data.target[index]
        inputs = quantize_inputs(layer, args)[0]
        for moments, mine in ((known, index % EVERY != EVERY - 1), (held, index % EVERY == EVERY - 1)):
            if mine.all():
                _add(moments, layer, inputs, target, prefix)
            elif mine.any():
                _add(moments, layer, inputs[mine], target[mine], prefix)
    return known, held


def _add(moments: Moments, layer: nn.Module, inputs: Tensor, target: Tensor, prefix: int) -> None:
    rows, convolves = rows_of(layer, inputs), isinstance(layer, nn.Conv2d)
    outputs = target.flatten(2).transpose(1, 2) if convolves else target
    moments.add(rows, outputs.reshape(len(rows), -1), _counts(outputs, 0 if convolves else prefix))


def _counts(outputs: Tensor, prefix: int) -> Tensor:
    """[rows]: how often each row of a layer's output [B, tokens, D], [B, D] or [B, h, w, D] counts."""
    counts = outputs.new_ones(outputs.shape[:-1])
    if outputs.ndim == 3:
        counts[:, :prefix] = PREFIX
    return counts.flatten()
