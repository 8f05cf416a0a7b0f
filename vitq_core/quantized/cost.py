"""How many bytes a model takes on disk, full-precision and quantized, without writing it."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from .packing import packed_bytes
from .simulation import Simulation
from .tensors import float_tensors, quantizer_tensors


def float_bytes(module: nn.Module) -> int:
    """Bytes of the parameters at four bytes each."""
    return 4 * sum(parameter.numel() for parameter in module.parameters())


def quantized_bytes(simulation: Simulation) -> int:
    """Bytes of the tensors that ``save_quantized`` writes (the file adds a header of some kilobytes)."""
    codes = sum(
        packed_bytes(layer.params, simulation.quantizer(layer.weight).bits)
        for layer in simulation.layers.values()
        if layer.weight is not None
    )
    quantizers = (quantizer_tensors(simulation.quantizer(site)).values() for site in simulation.sites())
    return codes + _total(float_tensors(simulation).values()) + sum(_total(tensors) for tensors in quantizers)


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
