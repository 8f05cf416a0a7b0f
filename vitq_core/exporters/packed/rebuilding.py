"""A quantized model made again of its description and its tensors."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ...quantized.packing import unpack
from ...quantized.result import QuantizeResult, layer_bits
from ...quantized.simulation import Simulation
from .container import Stored
from .contents import codes_of, float_names
from .description import parsed, wrapped
from .outline import Outline, outlined, restore_quantizers, simulated

# What values that make no sense raise, timm's assertions included.
DAMAGE = (LookupError, TypeError, AttributeError, ValueError, RuntimeError, AssertionError, ArithmeticError)
# What a try of the loaded model may cost at most: about a second, and the memory of its activations.
TRIED_MACS, TRIED_NUMBERS = 20e9, 4e6


def rebuild(data: dict[str, Any], stored: Stored) -> QuantizeResult:
    """Every tensor is in memory of its own. Raises VitqError, or what reading values that make no sense
    raises, before any memory is taken for the model.
    """
    description = parsed(data)
    outline = outlined(description, stored)
    with torch.random.fork_rng(devices=[]):
        module = description.family.build(description.config).requires_grad_(False)
    simulation = simulated(description, module)
    restore_quantizers(simulation, description, stored, outline.shapes)
    _restore_weights(simulation, stored)
    _restore_floats(simulation, float_names(description, stored), stored)
    module.eval().vitq = simulation
    _try(simulation, outline)
    source = wrapped(module, description.source)
    return QuantizeResult(module, layer_bits(simulation), description.report, description.recipe, source)


@torch.no_grad()
def _restore_weights(simulation: Simulation, stored: Stored) -> None:
    """Into the memory that the built model has, so that beside it there is a layer's at most."""
    for layer in simulation.layers.values():
        if layer.weight is not None:
            quantizer, weight = simulation.quantizer(layer.weight), simulation.float_weight(layer.name)
            codes = unpack(stored.read(codes_of(layer)), quantizer.bits, tuple(weight.shape))
            weight.copy_(quantizer.decode(codes))
            simulation.simulated_weight(layer.name).show_decoded()


def _restore_floats(simulation: Simulation, names: list[str], stored: Stored) -> None:
    for name in names:
        owner, _, leaf = name.rpartition(".")
        # In memory of its own: a product may round otherwise where a tensor begins as it does in the file.
        _set(simulation.module.get_submodule(owner), leaf, stored.read(name).clone())


def _set(target: nn.Module, leaf: str, tensor: Tensor) -> None:
    """A parameter or buffer of ``target``."""
    if leaf in target._buffers:
        target._buffers[leaf] = tensor
    else:
        setattr(target, leaf, nn.Parameter(tensor, requires_grad=False))


def _try(simulation: Simulation, outline: Outline) -> None:
    """Raises ValueError where a random picture gets no finite answer. Numbers that are finite one by one can
    still add up to none, which no look at single tensors tells.
    """
    size = simulation.input_size
    if outline.macs > TRIED_MACS or max(outline.largest, prod(size)) > TRIED_NUMBERS:
        return
    with torch.no_grad():
        answers = tree_leaves(simulation.prepared.task.example(size).through(simulation.module))
    if not all(torch.isfinite(answer).all() for answer in answers):
        raise ValueError("the answer to a random picture is not finite")
