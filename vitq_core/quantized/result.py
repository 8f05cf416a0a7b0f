"""What quantizing gives: the model, its bits, its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..recipes.recipe import Recipe
from .report import Report
from .simulation import Simulation

if TYPE_CHECKING:
    from ..models import Model


@dataclass(frozen=True)
class QuantizeResult:
    """``model``: same call as the original. ``bits``: {layer: (weight bits or None, activation bits)}."""

    model: nn.Module
    bits: dict[str, tuple[int | None, int]]
    report: Report
    recipe: Recipe
    source: Model | None = None  # what was quantized, where it came as a Model: labels and preprocessing

    @property
    def preprocess(self) -> Callable[[Any], Tensor] | None:
        """Picture → [3, H, W], as the model expects it; None where a bare module was quantized."""
        return None if self.source is None else self.source.preprocess

    @property
    def labels(self) -> list[str] | None:
        """The names of the classes; None where a bare module was quantized or the model has none."""
        return None if self.source is None else self.source.labels

    def __call__(self, images: Tensor) -> Tensor:
        """The quantized model's output, of the original's shape."""
        return self.model(images)


def layer_bits(simulation: Simulation) -> dict[str, tuple[int | None, int]]:
    """{layer: (weight bits or None, activation bits)}; both inputs of a matmul have the same bits."""
    table = {}
    for name, layer in simulation.layers.items():
        weight = None if layer.weight is None else simulation.quantizer(layer.weight).bits
        table[name] = (weight, simulation.quantizer(layer.inputs[0]).bits)
    return table
