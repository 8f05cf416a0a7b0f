"""A table of bits, {layer: (weight bits or None, activation bits)}: what it must hold and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..record import Record
from ..site import Layer

BitsTable = dict[str, tuple[int | None, int]]
IMAGE_BITS = 8  # every published method keeps the picture itself at 8 bits


@dataclass(frozen=True)
class TableCost(Record):
    """What a table costs: averages weighted by parameters (weights) and multiply-accumulates (inputs).

    ``weight_mb``: megabytes (10⁶ bytes) of packed codes alone; ``gbops``: Σ MACs · bits · bits / 10⁹.
    """

    avg_weight_bits: float
    avg_act_bits: float
    weight_mb: float
    gbops: float


def table_cost(table: Mapping[str, tuple[int | None, int]], layers: Mapping[str, Layer]) -> TableCost:
    """The report of a quantized model counts the same way, and adds scales and what stays in float.

    Raises ValueError for a table that misses a layer or names an unknown one.
    """
    check_complete(table, layers, "the table of bits")
    weights = [(layer.params, table[name][0]) for name, layer in layers.items() if layer.weight is not None]
    inputs = [(layer.macs, table[name][1]) for name, layer in layers.items() for _ in layer.inputs]
    return TableCost(
        avg_weight_bits=sum(n * b for n, b in weights) / max(sum(n for n, _ in weights), 1),
        avg_act_bits=sum(n * b for n, b in inputs) / max(sum(n for n, _ in inputs), 1),
        weight_mb=sum(n * b for n, b in weights) / 8e6,
        gbops=sum(layer.macs * _product(layer, *table[name]) for name, layer in layers.items()) / 1e9,
    )


def _product(layer: Layer, weight: int | None, act: int) -> int:
    return act * (act if layer.weight is None else weight)


def check_complete(names: Mapping, layers: Mapping[str, Layer], what: str) -> None:
    """Raises ValueError where ``names`` misses one of ``layers`` or has another."""
    missing = [name for name in layers if name not in names]
    unknown = [name for name in names if name not in layers]
    if missing:
        raise ValueError(
            f"{what} lacks {len(missing)} of the model's {len(layers)} layers, first {missing[0]!r}"
        )
    if unknown:
        raise ValueError(f"{what} names a layer that the model does not have: {unknown[0]!r}")
