"""A layer as a product of two factors, with the gradient at its output: cut into pieces, the loud ones first.

A linear layer multiplies rows with its transposed weight, which all pieces share; a product of activations
has both factors in each piece. A bias is the same in what is quantized and what is not, so it is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...quantized.samples import rows_of

FIRST_SHARE, GROWTH, MOST_ROWS = 1 / 24, 1.6, 1024  # of the pieces of rows
LIMIT = 2**21  # numbers of the candidates' outputs that are worked out at a time


@dataclass(frozen=True)
class Piece:
    """``left`` […, rows, inner] @ ``right`` […, inner, columns] = ``target``; ``gradient`` shaped as that."""

    left: Tensor
    right: Tensor
    gradient: Tensor
    target: Tensor


@dataclass(frozen=True)
class Calls:
    """What a layer was called with, once for each call: its ``inputs`` and the gradient at its output."""

    inputs: list[tuple[Tensor, ...]]
    gradients: list[Tensor]

    def heard(self) -> Calls:
        """With gradients of 1 where there are none at all: then what is lost counts evenly."""
        if any(gradient.any() for gradient in self.gradients):
            return self
        return Calls(self.inputs, [torch.ones_like(gradient) for gradient in self.gradients])


def pieces_of(part: nn.Module, weight: Tensor | None, calls: Calls) -> list[Piece] | None:
    """None for a layer that is no product of rows: a transposed convolution whose outputs overlap."""
    calls = calls.heard()
    if weight is None:
        return _of_activations(calls)
    right = as_columns(part, weight)
    if right is None:
        return None
    rows = torch.cat([rows_of_part(part, inputs[0]) for inputs in calls.inputs])
    gradients = torch.cat([_gradient_rows(part, gradient) for gradient in calls.gradients])
    return _of_rows(rows, right, gradients)


def as_columns(part: nn.Module, weight: Tensor) -> Tensor | None:
    """[inner, columns]: the weight that rows are multiplied with."""
    if not isinstance(part, nn.ConvTranspose2d):
        return weight.flatten(1).T if getattr(part, "groups", 1) == 1 else None
    plain = part.kernel_size == part.stride and part.groups == 1 and not any(part.padding)
    return weight.flatten(1) if plain and not any(part.output_padding) else None


def rows_of_part(part: nn.Module, x: Tensor) -> Tensor:
    """[rows, inner] that meet the columns of the layer's weight."""
    if isinstance(part, nn.ConvTranspose2d):
        return x.movedim(1, -1).reshape(-1, x.shape[1])
    return rows_of(part, x)


def _gradient_rows(part: nn.Module, gradient: Tensor) -> Tensor:
    """[rows, columns], as the product has them."""
    if isinstance(part, nn.ConvTranspose2d):
        down, across = part.kernel_size
        tiles = gradient.unflatten(3, (-1, across)).unflatten(2, (-1, down))  # [B, J, H, k, W, l]
        return tiles.permute(0, 2, 4, 1, 3, 5).reshape(-1, tiles.shape[1] * down * across)
    if isinstance(part, nn.Conv2d):
        return gradient.flatten(2).transpose(1, 2).reshape(-1, gradient.shape[1])
    return gradient.reshape(-1, gradient.shape[-1])


def _of_rows(rows: Tensor, right: Tensor, gradients: Tensor) -> list[Piece]:
    """Rows without a gradient have no say; the others lie in the order of theirs, in pieces that grow."""
    energy = gradients.square().sum(1)
    order = energy.argsort(descending=True, stable=True)
    order = order[: int((energy > 0).sum())]
    found, begin, size = [], 0, max(64, int(FIRST_SHARE * len(order)))
    while begin < len(order):
        chosen = order[begin : begin + size]
        left = rows[chosen]
        found.append(Piece(left, right, gradients[chosen], left @ right))
        begin, size = begin + size, min(int(size * GROWTH), MOST_ROWS)
    return found


def _of_activations(calls: Calls) -> list[Piece]:
    """Pictures (windows, questions) in the order of their gradients; each call its own piece where their
    shapes differ."""
    lefts, rights = (list(factors) for factors in zip(*calls.inputs, strict=True))
    gradients = calls.gradients
    if len({x.shape[1:] for x in lefts}) == len({x.shape[1:] for x in rights}) == 1:
        joined = (torch.cat(each) for each in (lefts, rights, gradients))
        lefts, rights, gradients = _by_energy(*joined)
    found = [Piece(a, b, g, a @ b) for a, b, g in zip(lefts, rights, gradients, strict=True)]
    return sorted(found, key=lambda piece: -float(piece.gradient.square().sum()))


def _by_energy(left: Tensor, right: Tensor, gradient: Tensor) -> tuple[list[Tensor], ...]:
    energy = gradient.flatten(1).square().sum(1)
    order = energy.argsort(descending=True, stable=True)[: int((energy > 0).sum())]
    sizes, size = [], max(1, int(FIRST_SHARE * len(order)))
    while (done := sum(sizes)) < len(order):
        sizes.append(min(size, len(order) - done))
        size = int(size * GROWTH) + 1
    return tuple([*each[order].split(sizes)] for each in (left, right, gradient))
