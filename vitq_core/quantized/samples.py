"""What is kept of a layer's inputs to judge candidates by its output: a bounded sample of the whole stream.

Few tokens of a real model are much larger than all others and carry most of the output, so the rows of
largest norm are kept whole beside an even choice of the others. Which ones does not depend on how the
pictures came in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..quantizers import Quantizer
from ..quantizers.judges import Correlated, Judge, Multiplied, Weighted
from ..quantizers.statistics import even_stride

ROWS, RARE = 512, 64  # rows kept of a layer's input; as many of them are those of largest norm
MOST_ROWS = 4 * ROWS  # where pictures bring more than was expected
PRODUCTS = 4  # pictures kept of a product of two activations; of pictures cut into windows or asked several
WINDOWS = 4  # things, up to so many times as many of those
MOST_PRODUCTS = 4 * PRODUCTS * WINDOWS
QUERIES, LOUD = 48, 12  # rows of the first factor, for each of these pictures and heads


@dataclass(frozen=True)
class Rows:
    """``values`` [rows, D] of a layer's input, and how many rows of the stream each stands for [rows]."""

    values: Tensor
    counts: Tensor

    def rescaled(self, divisor: Tensor, shift: Tensor) -> Rows:
        """``(values + shift) / divisor``, per channel."""
        return Rows((self.values + shift) / divisor, self.counts)

    def judge_input(self, weight: Tensor, axis: int | None) -> Weighted | None:
        """For the quantizer of the input of a layer of this ``weight``: for one group, or for one a channel
        (``axis`` −1). None for other groups, which rows do not have.

        A channel's error reaches the output by the squares of the weights it meets. Where every channel has
        its own scale that is the same for all candidates.
        """
        if axis is None:
            met = weight.flatten(1).square().sum(dim=0)
            return Weighted(self.values.reshape(1, -1), (self.counts[:, None] * met).reshape(1, -1))
        return Weighted(self.values.T.contiguous(), self.counts) if axis == -1 else None

    def judge_weight(self, weight: Tensor) -> Correlated:
        """For the quantizer of the rows of the layer's ``weight``, inputs as they come together."""
        return Correlated(weight.flatten(1), self.values * self.counts.sqrt()[:, None])

    def judge_single_weights(self, weight: Tensor) -> Weighted:
        """The same as if inputs had nothing to do with each other: many times faster."""
        return Weighted(weight.flatten(1), self.counts @ self.values.square())


class RowSample:
    """The rows that reach a linear layer or a convolution, of ``pictures`` pictures in all."""

    def __init__(self, layer: nn.Module, pictures: int) -> None:
        self._layer, self._pictures = layer, pictures
        self._seen = self._expected = 0
        self._stride = 1
        self._even: list[tuple[Tensor, Tensor]] = []  # (places in the stream, rows)
        self._rare: tuple[Tensor, Tensor] | None = None

    def update(self, inputs: Sequence[Tensor], pictures: int) -> None:
        """Take in what the layer is called with for so many ``pictures``."""
        rows = rows_of(self._layer, inputs[0])
        if not self._expected:
            self._expect(len(rows) * self._pictures // pictures, len(rows) // len(inputs[0]))
        places = torch.arange(self._seen, self._seen + len(rows), device=rows.device)
        even = places % self._stride == 0
        self._even.append((places[even], rows[even]))
        self._keep_rare(places, rows)
        self._seen += len(rows)
        self._thin()

    def _thin(self) -> None:
        """Pictures may bring many more rows than the first one led to expect."""
        while sum(len(places) for places, _ in self._even) > MOST_ROWS:
            self._expected, self._stride = max(self._expected, ROWS + 1), 2 * self._stride
            kept = [(places, places % self._stride == 0, rows) for places, rows in self._even]
            self._even = [(places[even], rows[even]) for places, even, rows in kept]

    def _expect(self, total: int, together: int) -> None:
        """As many rows; exactly so where all pictures give as many."""
        self._expected = total
        if total > ROWS:
            self._stride = even_stride(total, together, ROWS - RARE)

    def kept(self) -> Rows:
        """What was kept."""
        places, values = (torch.cat(part) for part in zip(*self._even, strict=True))
        if self._expected <= ROWS:
            return Rows(values, torch.ones_like(values[:, 0]))
        rare_places, rare = self._rare
        other = torch.isin(places, rare_places, invert=True)
        each = (self._seen - len(rare)) / max(1, int(other.sum()))
        counts = torch.cat((torch.ones_like(rare[:, 0]), torch.full_like(values[other][:, 0], each)))
        return Rows(torch.cat((rare, values[other])), counts)

    def _keep_rare(self, places: Tensor, rows: Tensor) -> None:
        if self._rare is not None:
            places, rows = torch.cat((self._rare[0], places)), torch.cat((self._rare[1], rows))
        loudest = rows.square().sum(dim=1).topk(min(RARE, len(rows))).indices.sort().values
        self._rare = places[loudest], rows[loudest]


@dataclass(frozen=True)
class Factors:
    """``left`` [pictures, …, rows, inner] and ``right`` [pictures, …, inner, columns] of a product of two
    activations, and how many rows each of ``left`` stands for [pictures, …, rows]."""

    left: Tensor
    right: Tensor
    counts: Tensor

    def judge_input(self, index: int, axis: int | None) -> Multiplied | None:
        """For the quantizer of the first (0) or the second factor; None for groups that cut through rows."""
        between = axis is None or 0 < axis % self.left.ndim < self.left.ndim - 2
        return Multiplied(self.left, self.right, self.counts, index == 0, axis) if between else None


class ProductSample:
    """The factors of a product of two activations, of ``pictures`` pictures in all: few of them."""

    def __init__(self, pictures: int) -> None:
        self._pictures, self._step, self._seen = pictures, 0, 0
        self._left: list[Tensor] = []
        self._right: list[Tensor] = []

    def update(self, inputs: Sequence[Tensor], pictures: int) -> None:
        """Take in what the product is called with for so many ``pictures``: [B, …, rows, inner], [B, …,
        inner, columns]."""
        if not self._step:
            each = len(inputs[0]) // pictures  # windows of a picture, or questions asked of it
            self._step = -(-self._pictures * each // (PRODUCTS * min(each, WINDOWS)))
        first = -self._seen % self._step
        for kept, factor in zip((self._left, self._right), inputs, strict=False):
            kept.append(factor[first :: self._step].clone())
        self._seen += len(inputs[0])
        if sum(map(len, self._left)) > MOST_PRODUCTS:  # many more than the first picture led to expect
            self._step *= 2
            self._left, self._right = ([factor[::2] for factor in kept] for kept in (self._left, self._right))

    def kept(self) -> Factors:
        """What was kept."""
        left, counts = _few_rows(_together(self._left))
        return Factors(left, _together(self._right), counts)


def _together(tensors: list[Tensor]) -> Tensor:
    """In one, smaller matrices filled up with zeros, which add nothing to a product and have no error."""
    sizes = [tensor.shape[-2:] for tensor in tensors]
    rows, columns = (max(size[side] for size in sizes) for side in (0, 1))
    return torch.cat(
        [
            tensor
            if tensor.shape[-2:] == (rows, columns)
            else functional.pad(tensor, (0, columns - tensor.shape[-1], 0, rows - tensor.shape[-2]))
            for tensor in tensors
        ]
    )


def sample_of(layer: nn.Module, pictures: int) -> RowSample | ProductSample | None:
    """Of a layer with a weight, or of a product; None for a transposed convolution, whose outputs share
    inputs in more than one way."""
    if isinstance(layer, nn.ConvTranspose2d):
        return None
    return RowSample(layer, pictures) if hasattr(layer, "weight") else ProductSample(pictures)


def input_judges(
    kept: Rows | Factors, quantizers: Sequence[Quantizer], weight: Tensor | None
) -> list[Judge | None]:
    """For the quantizers of a layer's inputs, where it has a ``weight``, or of the factors of a product."""
    axes = [getattr(quantizer, "axis", None) for quantizer in quantizers]
    if isinstance(kept, Factors):
        return [kept.judge_input(index, axis) for index, axis in enumerate(axes)]
    return [kept.judge_input(weight, axis) for axis in axes]


def rows_of(layer: nn.Module, x: Tensor) -> Tensor:
    """The rows [rows, D] that meet those of the layer's weight: tokens, or a convolution's patches."""
    if isinstance(layer, nn.Conv2d):
        shape = {name: getattr(layer, name) for name in ("dilation", "padding", "stride")}
        x = functional.unfold(x, layer.kernel_size, **shape).transpose(1, 2)
    return x.reshape(-1, x.shape[-1])


def _few_rows(left: Tensor) -> tuple[Tensor, Tensor]:
    """Of every matrix [rows, inner] of ``left``: its LOUD rows of largest norm and an even choice of the
    others, with how many each stands for."""
    rows = left.shape[-2]
    if rows <= QUERIES:
        return left, torch.ones_like(left[..., 0])
    norms = left.square().sum(dim=-1)
    order = norms.argsort(dim=-1, descending=True)  # evenly by norm: that takes in every kind of row
    others = order[..., LOUD :: -(-(rows - LOUD) // (QUERIES - LOUD))]
    index = torch.cat((order[..., :LOUD], others), dim=-1)
    counts = torch.ones_like(index, dtype=left.dtype)
    counts[..., LOUD:] = (rows - LOUD) / others.shape[-1]
    return left.gather(-2, index[..., None].expand(*index.shape, left.shape[-1])), counts
