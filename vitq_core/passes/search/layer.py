"""One layer of a model as what a search works on: its operands, its pieces, what it fits by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...graph.site import WEIGHT, Layer, Site
from ...quantized.simulation import Simulation
from ...quantizers import Quantizer
from .operand import COLUMNS, HEADS, Operand, extremes
from .product import Calls, Piece, as_columns, pieces_of


@dataclass
class SearchedLayer:
    """``left`` @ ``right``; ``right_first``: a weight is searched before its input. ``pieces``: empty where
    nothing can be searched, or where pieces are of something larger. ``weight``: as the right factor.
    """

    layer: Layer
    left: Operand
    right: Operand
    shapes: dict[Site, Tensor]  # of what reaches each quantizer: one picture, on the meta device
    pieces: list[Piece]
    weight: Tensor | None = None

    @property
    def right_first(self) -> bool:
        return self.layer.weight is not None

    @property
    def operands(self) -> tuple[Operand, Operand]:
        return self.left, self.right

    def note_noise(self, calls: Calls) -> None:
        """Signal to noise of every operand that was searched, on the first of the calls."""
        first = calls.inputs[0]
        for operand, x in zip(
            self.operands, (first[0], self.weight if self.right_first else first[1]), strict=True
        ):
            if operand.searched and operand.chosen is not None:
                operand.quantizer.note_noise(x, operand.now(x))

    def settle(self) -> None:
        """Give all quantizers what was chosen; those that fit themselves do it now."""
        for operand in self.operands:
            if operand.searched:
                operand.settle(self.shapes[operand.site])
            elif operand.site.tensor != WEIGHT:
                operand.quantizer.finish()


def searched_layer(simulation: Simulation, layer: Layer, calls: Calls, factors: Tensor) -> SearchedLayer:
    """As :func:`proposed`, with the pieces that candidates are ranked on."""
    weight = None if layer.weight is None else simulation.float_weight(layer.name).detach()
    pieces = pieces_of(simulation.layer(layer.name), weight, calls)
    found = proposed(simulation, layer, calls, factors, usable=bool(pieces))
    return replace(found, pieces=pieces or [])


def proposed(
    simulation: Simulation, layer: Layer, calls: Calls, factors: Tensor, usable: bool = True
) -> SearchedLayer:
    """``factors`` [candidates]: of the ranges. Quantizers that fit themselves see ``calls``, all where the
    layer is not ``usable``."""
    part, inputs = simulation.layer(layer.name), [*zip(*calls.inputs, strict=True)]
    shapes = {site: _shape(x[0]) for site, x in zip(layer.inputs, inputs, strict=True)}
    rows = layer.weight is not None
    left = _activation(simulation, layer.inputs[0], inputs[0], factors, usable, rows)
    if not rows:
        right = _activation(simulation, layer.inputs[1], inputs[1], factors, usable, rows)
        return SearchedLayer(layer, left, right, shapes, [])
    weight = simulation.float_weight(layer.name).detach()
    columns = as_columns(part, weight)
    right = _weight(simulation, layer.weight, weight, columns, factors)
    return SearchedLayer(layer, left, right, {**shapes, layer.weight: weight.to("meta")}, [], columns)


def _shape(x: Tensor) -> Tensor:
    return x[:1].to("meta")


def _activation(
    simulation: Simulation, site: Site, seen: tuple[Tensor, ...], factors: Tensor, usable: bool, rows: bool
) -> Operand:
    """``rows``: it is cut into rows, which heads would be lost in."""
    quantizer = simulation.quantizer(site)
    axis = getattr(quantizer, "axis", None)
    heads = axis is not None and axis % seen[0].ndim == seen[0].ndim + HEADS and not rows
    size = seen[0].shape[HEADS] if heads else 1
    operand = Operand(site, quantizer, HEADS if heads else None, size)
    if usable and (heads or axis is None):
        ends = [extremes(x, operand.axis, size) for x in seen]
        low, high = (torch.stack(each) for each in zip(*ends, strict=True))
        operand.propose(low.amin(0), high.amax(0), factors)
    if not operand.searched:
        total = sum(len(x) for x in seen)
        for x in seen:
            quantizer.observe(x, len(x) / total)
    return operand


def _weight(
    simulation: Simulation, site: Site, weight: Tensor, columns: Tensor | None, factors: Tensor
) -> Operand:
    """``columns``: the weight as the right factor of a product; None where it is none."""
    quantizer: Quantizer = simulation.quantizer(site)
    axis, rows = getattr(quantizer, "axis", None), weight.shape[0]
    operand = Operand(site, quantizer, None if axis is None else COLUMNS, 1 if axis is None else rows)
    if columns is not None and (axis is None or (axis == 0 and columns.shape[1] == rows)):
        parts = getattr(quantizer, "groups", 1)
        groups = 1 if axis is None else parts if parts > 1 else rows
        operand.propose(*extremes(weight, axis, groups), factors)
    return operand
