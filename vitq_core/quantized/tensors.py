"""Which tensors a quantized model is stored as, and their names in the file."""

from __future__ import annotations

import torch
from torch import Tensor

from ..quantizers import Quantizer
from .simulation import Simulation

CODES = "codes"


def quantizer_tensors(quantizer: Quantizer) -> dict[str, Tensor]:
    """The fitted parameters; whole-numbered ones in the smallest integer type that holds them."""
    return {name: compact(getattr(quantizer, name)) for name in quantizer.PARAMETERS}


def compact(values: Tensor) -> Tensor:
    """``values`` in uint8 or int16 where that loses nothing (zero points), else as they are."""
    for dtype in (torch.uint8, torch.int16):
        limits = torch.iinfo(dtype)
        if values.min() >= limits.min and values.max() <= limits.max and torch.equal(values.round(), values):
            return values.to(dtype)
    return values.contiguous()


def float_tensors(simulation: Simulation) -> dict[str, Tensor]:
    """What stays in floating point: parameters that are no quantized weight, and the model's own buffers."""
    quantized = {f"{layer.name}.weight" for layer in simulation.layers.values() if layer.weight is not None}
    kept = {}
    for name, tensor in simulation.module.state_dict().items():
        plain = name.replace(".parametrizations.weight.original", ".weight")
        if plain not in quantized and ".parametrizations." not in name and ".input_quantizers." not in name:
            kept[name] = tensor.contiguous()
    return kept
