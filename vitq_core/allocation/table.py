"""A table of bits, {layer: (weight bits or None, activation bits)}: what it must hold and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..common.records import Record
from ..graph.copies import module_of
from ..graph.prepared import peeked, prepare
from ..graph.site import Layer
from ..models import Model
from ..quantized.cost import MEGABYTE, Cost, cost_of_table, expected_bytes
from ..recipes.recipe import check_bits

BitsTable = dict[str, tuple[int | None, int]]
IMAGE_BITS = 8  # every published method keeps the picture itself at 8 bits


@dataclass(frozen=True)
class TableCost(Record):
    """What a table costs, counted as in a result's report: averages weighted by parameters (weights) and
    multiply-accumulates (inputs), ``size_mb`` in 10⁶ bytes, ``gbops`` = Σ MACs · bits · bits / 10⁹.
    """

    avg_weight_bits: float
    avg_act_bits: float
    size_mb: float
    gbops: float


def table_cost(
    table: Mapping[str, tuple[int | None, int]],
    model: Model | nn.Module,
    images: Tensor | Iterable | None = None,
) -> TableCost:
    """Of ``model`` quantized with these bits by a uniform recipe such as ``lrp``, without quantizing it.

    Averages and operations are exact; the size takes a scale and a zero point of five bytes for each weight
    row and normalized channel. ``images``: needed where the model takes any size. Raises ValueError for a
    table that misses a layer or names an unknown one, VitqError for a model of no known family.
    """
    if hasattr(module_of(model, "table_cost"), "vitq"):
        raise ValueError("this model is quantized already: its report says what it costs")
    first = None if images is None else peeked(images, model, "table_cost")[0]
    prepared = prepare(model, "table_cost", first)
    check_table(table, prepared.layers, "the table of bits")
    cost = cost_of_table(prepared.layers, table)
    return priced(cost, expected_bytes(prepared, cost.code_bytes))


def priced(cost: Cost, size: int) -> TableCost:
    """``size``: of the file, in bytes."""
    return TableCost(
        avg_weight_bits=cost.weight_bits / max(cost.weights, 1),
        avg_act_bits=cost.input_bits / max(cost.inputs, 1),
        size_mb=size / MEGABYTE,
        gbops=cost.gbops,
    )


def check_table(table: Mapping[str, tuple[int | None, int]], layers: Mapping[str, Layer], what: str) -> None:
    """Raises ValueError where ``table`` misses a layer or its bits, or has others."""
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{what} must be {{layer: (weight bits or None, activation bits)}}, got {type(table).__name__}"
        )
    check_complete(table, layers, what)
    for name, layer in layers.items():
        if not isinstance(table[name], (tuple, list)) or len(table[name]) != 2:
            raise ValueError(
                f"the bits of {name!r} must be (weight bits or None, activation bits), got {table[name]!r}"
            )
        weight, act = table[name]
        check_bits(act, f"activation bits of {name!r}")
        if layer.weight is not None:
            check_bits(weight, f"weight bits of {name!r}")


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
