"""PTQ4ViT's search (arXiv 2111.12293): the scale with the least ``(g ⊙ (O − Ô))²`` of the layer's output.

g is the gradient of the loss at that output in full precision, so that its square stands for the diagonal of
the Hessian (Gauss–Newton).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from . import product
from .descent import alternate, least, parts
from .operand import Operand
from .product import Piece

Keep = Callable[[Tensor], Tensor]  # errors [candidates, …] → those that count, others 0; written over


def every(error: Tensor) -> Tensor:
    """All of them."""
    return error


def search(
    left: Operand, right: Operand, pieces: list[Piece], rounds: int, right_first: bool, keep: Keep = every
) -> None:
    """Choose candidates for both factors in turn, in place: a weight, the right one, before its input; of two
    activations the left one first.

    The second begins with the range that reaches its extremes, but in full precision where the first is
    searched alone. ``keep``: what of the errors counts.
    """
    first, second = (right, left) if right_first else (left, right)
    if not first.quantizer.searched_alone:
        second.begin()
    found = informed(pieces, first if first.searched else second)

    def of(operand: Operand, other: Operand) -> Tensor:
        search = _Search(operand, other, operand is right, found, keep)
        return least(search.errors, len(found), operand.candidates)

    alternate(first, second, of, rounds)


class _Search:
    """For one operand, the right or the left factor, with the other as it is."""

    def __init__(
        self, operand: Operand, other: Operand, right: bool, pieces: list[Piece], keep: Keep
    ) -> None:
        self._operand, self._other, self._right, self._pieces = operand, other, right, pieces
        self._keep = keep

    def errors(self, number: int, numbers: Tensor) -> Tensor:
        """[numbers, groups] of a piece."""
        piece = self._pieces[number]
        mine, beside = (piece.right, piece.left) if self._right else (piece.left, piece.right)
        alone = self._operand.quantizer.searched_alone
        beside = beside if alone else self._other.now(beside)
        together = product.LIMIT // max(piece.target.numel(), mine.numel())
        found = [self._of(piece, mine, beside, some) for some in parts(numbers, together)]
        return torch.cat(found)

    def _of(self, piece: Piece, mine: Tensor, beside: Tensor, numbers: Tensor) -> Tensor:
        tried = self._operand.each(mine, numbers)
        output = beside @ tried if self._right else tried @ beside
        error = self._keep(output.sub_(piece.target)).mul_(piece.gradient).square_()
        return summed(error, self._operand)


def summed(error: Tensor, operand: Operand) -> Tensor:
    """[candidates, …] of a product's elements, for each group of ``operand``: [candidates, groups]."""
    if operand.axis is None:
        return error.flatten(1).sum(1, keepdim=True)
    axis = error.ndim + operand.axis
    others = [index for index in range(1, error.ndim) if index != axis]
    return error.sum(others).unflatten(1, (operand.groups, -1)).sum(-1)


def informed(pieces: list[Piece], operand: Operand) -> list[Piece]:
    """Where a group has no gradient at all, what is lost there counts evenly: otherwise all candidates would
    be equally good, and the first one is the worst."""
    energy = sum(summed(piece.gradient.square()[None], operand)[0] for piece in pieces)
    if (energy > 0).all():
        return pieces
    size = sum(piece.gradient.numel() for piece in pieces)
    even = float((energy.sum() / size).sqrt()) or 1.0
    silent = operand.spread((energy == 0).float(), pieces[0].gradient.ndim)
    return [Piece(p.left, p.right, p.gradient + even * silent, p.target) for p in pieces]
