"""Weights that make up for the rounding around them, in closed form: nothing is learned by descent.

Least squares moves a layer's weights so that on its quantized inputs it gives what it gave in full precision
(ERQ, arXiv 2407.06794). Then column after column is rounded, and those left take up the error of those done
(GPTQ, arXiv 2210.17323). Both know the inputs by their second moments alone, so memory does not grow with
the number of pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ..quantizers import Uniform

RIDGES = (1.0, 3.0, 10.0, 100.0)  # of the mean second moment: how much weights hold on to where they were
DAMPING = 0.01  # of the same, so that a factor exists
ASIDE = 0.1  # of a step: how far from its code learning finds a weight
COLUMNS = 64  # rounded before the errors reach all others
Error = Callable[[Tensor, Tensor | None], float]  # of a weight [out, D] and its bias [out]


@dataclass(frozen=True)
class Grid:
    """What the rows of a weight [out, D] are rounded to; all [out or 1, 1]."""

    scale: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, quantizer: Uniform) -> Grid:
        """Of a weight's quantizer, fitted."""
        return cls(*(each.reshape(-1, 1) for each in (quantizer.scale, *quantizer.limits())))

    def round(self, weight: Tensor) -> Tensor:
        """[out, any] to the nearest step."""
        return (weight / self.scale).round_().clamp_(self.low, self.high).mul_(self.scale)

    def beside(self, hard: Tensor, wanted: Tensor) -> Tensor:
        """``hard``, a little towards ``wanted``: where learning goes on from, and may round the other way.

        Not half a step towards it: codes were chosen together, so that their errors make up for each other,
        and a weight half way between two would lose its own at the first push.
        """
        step = ASIDE * self.scale
        return hard + torch.minimum(torch.maximum(wanted - hard, -step), step)


@dataclass(frozen=True)
class Compensated:
    """``hard``: on the grid [out, D]; ``wanted``: what it was rounded from; ``bias`` [out], or None."""

    hard: Tensor
    wanted: Tensor
    bias: Tensor | None


class Moments:
    """Sums over rows x̂ [rows, D] of quantized inputs and the outputs t [rows, out] that they should give."""

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    def add(self, inputs: Tensor, outputs: Tensor, counts: Tensor) -> None:
        """Of a chunk, whose rows count ``counts`` [rows] times; sums are kept in double precision."""
        weighted = inputs * counts[:, None]
        parts = (
            weighted.T @ inputs,
            outputs.T @ weighted,
            weighted.sum(dim=0),
            counts @ outputs,
            counts.sum(),
        )
        if self._sums:
            for total, part in zip(self._sums, parts, strict=True):
                total += part
        else:
            self._sums = [part.double() for part in parts]

    def __bool__(self) -> bool:
        return bool(self._sums)

    def __add__(self, other: Moments) -> Moments:
        """Of both."""
        both = Moments()
        both._sums = [a + b for a, b in zip(self._sums, other._sums, strict=True)]
        return both

    def error_beside(self, base: Tensor) -> Error:
        """A function of a weight not far from ``base`` [out, D] and its bias: ``‖T − X̂Wᵀ − b‖²`` up to a
        constant; of the outputs' own mean where the layer has no bias.

        Only the difference is multiplied with the second moments, so that single precision is enough.
        """
        gram, cross, inputs, outputs, count = self._sums
        gram = gram.to(base.dtype)
        slope = 2 * (base @ gram).sub_(cross)

        def error(weight: Tensor, bias: Tensor | None) -> float:
            moved = weight - base
            found = (moved @ gram).add_(slope).mul_(moved).sum(dtype=torch.double)
            if bias is not None:
                bias = bias.double()
                found += 2 * bias @ (weight.double() @ inputs - outputs) + count * bias @ bias
            return float(found)

        return error

    def products(self, centred: bool) -> tuple[Tensor, Tensor]:
        """``X̂ᵀX̂`` [D, D] and ``TᵀX̂`` [out, D]; ``centred``: about their means, which a bias takes care of."""
        gram, cross, inputs, outputs, count = self._sums
        if not centred:
            return gram, cross
        return gram - inputs.outer(inputs) / count, cross - outputs.outer(inputs) / count

    def bias(self, weight: Tensor) -> Tensor:
        """The best one [out] beside ``weight`` [out, D]."""
        _, _, inputs, outputs, count = self._sums
        return ((outputs - weight.double() @ inputs) / count).to(weight.dtype)


def compensated(
    weight: Tensor, bias: Tensor | None, grid: Grid, known: Moments, held: Moments
) -> Compensated | None:
    """``weight`` [out, D] with the ridge that serves rows ``held`` best when only ``known`` ones are made up
    for. None where even that serves them worse than rounding to the nearest step.
    """

    def made_up(moments: Moments, ridge: float) -> Compensated:
        gram, cross = moments.products(centred=bias is not None)
        wanted = regressed(weight, gram, cross, ridge)
        hard = rounded(wanted, gram, grid)
        return Compensated(hard, wanted, None if bias is None else moments.bias(hard))

    if not held:
        return made_up(known, RIDGES[-1])
    error = held.error_beside(weight)
    ridge = best_ridge(weight, bias is not None, known, error)
    tried = made_up(known, ridge)
    if error(tried.hard, tried.bias) >= error(grid.round(weight), bias):
        return None
    return made_up(known + held, ridge)


def best_ridge(weight: Tensor, with_bias: bool, known: Moments, error: Error) -> float:
    """The one with the least ``error`` on other rows before rounding, which costs all about the same.

    The error falls up to the best one and rises from there on, so not all need be tried.
    """
    gram, cross = known.products(centred=with_bias)

    @cache
    def of_ridge(index: int) -> float:
        wanted = regressed(weight, gram, cross, RIDGES[index])
        return error(wanted, known.bias(wanted) if with_bias else None)

    place = 1
    while place + 1 < len(RIDGES) and of_ridge(place + 1) < of_ridge(place):
        place += 1
    return RIDGES[0] if place == 1 and of_ridge(0) <= of_ridge(1) else RIDGES[place]


def regressed(weight: Tensor, gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """``W`` [out, D] that makes ``‖T − X̂Wᵀ‖² + λ‖W − weight‖²`` least; λ: ``ridge`` mean second moments."""
    hold = ridge * gram.diagonal().mean().clamp_min(1e-30)
    damped = _damped(gram, hold, weight.dtype)
    return torch.cholesky_solve((cross / hold + weight).to(weight.dtype).T, torch.linalg.cholesky(damped)).T


def _damped(gram: Tensor, hold: Tensor, dtype: torch.dtype) -> Tensor:
    """``gram / hold + 1``: single precision is enough for a factor of it, and takes half as long."""
    damped = (gram / hold).to(dtype)
    damped.diagonal().add_(1)
    return damped


def rounded(weight: Tensor, gram: Tensor, grid: Grid) -> Tensor:
    """``weight`` [out, D] on ``grid``, so that the outputs for inputs of this ``gram`` [D, D] move little.

    Columns that meet the loudest inputs come first.
    """
    order = gram.diagonal().argsort(descending=True)
    factor = _factor(gram[order][:, order], weight.dtype)
    left = (weight / grid.scale).T.contiguous()[order]  # in steps; what was a column lies in one piece
    low, high = grid.low.flatten(), grid.high.flatten()
    code = torch.empty_like(left[0])
    for start in range(0, len(order), COLUMNS):
        stop = min(start + COLUMNS, len(order))
        errors = torch.empty_like(left[start:stop])
        for j, error in enumerate(errors, start):
            torch.round(left[j], out=code)
            torch.minimum(torch.maximum(code, low, out=code), high, out=code)
            torch.sub(left[j], code, out=error)
            left[j:stop].addr_(factor[j, j:stop], error, alpha=-1)
        left[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return left.round_()[order.argsort()].T * grid.scale


def _factor(gram: Tensor, dtype: torch.dtype) -> Tensor:
    """The upper Cholesky factor of the inverse, each row divided by its diagonal: how much of a column's
    error the columns after it take up."""
    damped = _damped(gram, DAMPING * gram.diagonal().mean().clamp_min(1e-30), dtype)
    lower = torch.linalg.cholesky(damped.flip(0, 1)).flip(0, 1)  # the gram is upper times its transpose
    inverse = torch.linalg.solve_triangular(lower, torch.eye(len(gram)).to(lower), upper=True)
    return inverse.div_(inverse.diagonal()[:, None].clone())
