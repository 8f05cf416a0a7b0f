"""Which tensors a quantized model is stored as, and their names in the file."""

from __future__ import annotations

from torch import Tensor

from .between import NAME as BETWEEN
from .simulation import Simulation

CODES = "codes"


def float_tensors(simulation: Simulation) -> dict[str, Tensor]:
    """What stays in floating point: parameters that are no quantized weight, and the model's own buffers."""
    quantized = {f"{layer.name}.weight" for layer in simulation.layers.values() if layer.weight is not None}
    kept = {}
    for name, tensor in simulation.module.state_dict().items():
        plain = name.replace(".parametrizations.weight.original", ".weight")
        if (
            plain not in quantized
            and ".parametrizations." not in name
            and ".input_quantizers." not in name
            and f".{BETWEEN}." not in f".{name}"
        ):
            kept[name] = tensor.contiguous()
    return kept
