"""What bits cost, worked out in one place: averages, bit operations, bytes on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..graph.prepared import PreparedModel
from ..graph.site import Layer
from .packing import packed_bytes
from .simulation import Simulation
from .tensors import float_tensors

MEGABYTE = 1e6
SCALE_BYTES = 5  # of a float scale and a zero point in one byte


@dataclass
class Cost:
    """Sums over layers: weights count by their parameters, inputs by the multiply-accumulates they are in."""

    weights: int = 0
    weight_bits: float = 0
    inputs: int = 0
    input_bits: float = 0
    code_bytes: int = 0
    operations: float = 0  # Σ multiply-accumulates · bits · bits

    def add(self, layer: Layer, weight: int | None, inputs: Sequence[float]) -> Cost:
        """``weight``: bits of the weight, None where there is none; ``inputs``: of each input."""
        if weight is not None:
            self.weights += layer.params
            self.weight_bits += layer.params * weight
            self.code_bytes += packed_bytes(layer.params, weight)
        for bits in inputs:
            self.inputs += layer.macs
            self.input_bits += layer.macs * bits
        operands = [*inputs, *([] if weight is None else [weight])]
        self.operations += layer.macs * operands[0] * operands[-1]
        return self

    @property
    def avg_weight_bits(self) -> float:
        """NaN without any weight."""
        return self.weight_bits / self.weights if self.weights else float("nan")

    @property
    def avg_act_bits(self) -> float:
        return self.input_bits / self.inputs if self.inputs else float("nan")

    @property
    def gbops(self) -> float:
        return self.operations / 1e9


def cost_of_table(layers: Mapping[str, Layer], table: Mapping[str, tuple[int | None, int]]) -> Cost:
    """Of layers whose operands have the bits of ``table``."""
    total = Cost()
    for name, layer in layers.items():
        weight, act = table[name]
        total.add(layer, None if layer.weight is None else weight, [act] * len(layer.inputs))
    return total


def cost_of(simulation: Simulation) -> tuple[Cost, Cost]:
    """With the bits of the codes, and with those a value really takes, outliers kept exact counted."""
    nominal, effective = Cost(), Cost()
    for layer in simulation.layers.values():
        weight = None if layer.weight is None else simulation.quantizer(layer.weight).bits
        inputs = [simulation.quantizer(site) for site in layer.inputs]
        nominal.add(layer, weight, [quantizer.bits for quantizer in inputs])
        effective.add(layer, weight, [quantizer.effective_bits for quantizer in inputs])
    return nominal, effective


def float_bytes(module: nn.Module) -> int:
    """Bytes of the parameters at four bytes each."""
    return 4 * sum(parameter.numel() for parameter in module.parameters())


def kept_float_bytes(prepared: PreparedModel) -> int:
    """Of what stays in floating point: parameters and buffers that are no layer's weight."""
    weights = {f"{name}.weight" for name, layer in prepared.layers.items() if layer.weight is not None}
    return _total(tensor for name, tensor in prepared.module.state_dict().items() if name not in weights)


def scale_count(prepared: PreparedModel, layer: Layer) -> int:
    """How many scales a layer's quantizers have: one for each weight row, input, normalized channel."""
    if layer.weight is None:
        return len(layer.inputs)
    rows, channels = prepared.module.get_submodule(layer.name).weight.shape[:2]
    return rows + (channels if layer.inputs[0].role == "post_layernorm" else 1)


def expected_bytes(prepared: PreparedModel, code_bytes: int) -> int:
    """Of a model with so many bytes of codes and a uniform quantizer at every site, before it is made."""
    scales = sum(scale_count(prepared, layer) for layer in prepared.layers.values())
    return code_bytes + kept_float_bytes(prepared) + SCALE_BYTES * scales


def quantized_bytes(simulation: Simulation) -> int:
    """Bytes of the tensors that ``save_quantized`` writes (the file adds a header of some kilobytes)."""
    quantizers = sum(simulation.quantizer(site).stored_bytes() for site in simulation.sites())
    codes = cost_of(simulation)[0].code_bytes
    return codes + _total(float_tensors(simulation).values()) + quantizers


def _total(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
