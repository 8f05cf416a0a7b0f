"""Logarithmic codes fast: simulation in place, the gradient of the scale, the search for scale and base."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import log2
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..judges import Judge
from ..statistics import PERCENTILES, Statistics
from . import pieces
from .gradients import Differentiate, dot, zero_outside
from .pieces import Simulate, plain_numbers

COARSE = 3  # every so many bases are tried, then those between the best one and its neighbours
ABOVE = 1 + 1e-6  # of the largest value: the scale that cuts nothing off, its own rounding included
SHRINK, SHRINKS = 0.8, 6  # of that one, where a judge ranks: powers of a factor
SEARCHED = 2**18  # values that many bases are ranked on
SCALES = 24  # factors of the largest value that the closest search begins with
FINER, ROUNDS = 8, 3  # factors between the neighbours of the best one, and how often it comes closer
TABLE = 37  # AdaLog's: bases are 2^(37/q), q whole, so that integer hardware looks 37 powers up
BEAM = 3  # pairs of scale and base that a joint search goes on from, each time with half the step
FINEST = 2.0**10  # q at most, as a multiple of TABLE: bases can be told from 1


# -- simulation and its gradient -------------------------------------------------------------------------
def simulator(scale: Tensor, base: float, bits: int) -> Simulate:
    """``s · base^−clamp(⌊−log_base(x/s)⌉, 0, 2^b)``, whose smallest is exactly 0."""
    (scale,) = plain_numbers(scale)
    return lambda source, target: _simulate(source, scale, base, bits, target)


def shifted_simulator(scale: Tensor, offset: Tensor, base: float, bits: int) -> Simulate:
    """The same of ``max(x − offset, 0)``, and ``offset`` added again."""
    scale, offset = plain_numbers(scale, offset)

    def simulate(source: Tensor, target: Tensor) -> Tensor:
        shifted = torch.sub(source, offset, out=target).clamp_min_(0.0)
        return _simulate(shifted, scale, base, bits, target).add_(offset)

    return simulate


def differentiator(scale: Tensor) -> Differentiate:
    """Straight through to the input, but not above the largest power; to the scale with codes held fixed.

    Straight-through inside the logarithm would give NaN at 0, and the scale nothing to learn from.
    """
    largest = scale.item()

    def differentiate(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
        drawn = dot(simulated, gradient)
        zero_outside(gradient, x, float("-inf"), largest, out=simulated)
        return drawn

    return differentiate


def shifted_differentiator(scale: Tensor, offset: Tensor) -> Differentiate:
    """The same for powers above ``offset``, which does not move with the scale."""
    unshifted = differentiator(scale + offset)
    return lambda x, simulated, gradient: unshifted(x, simulated, gradient) - offset * gradient.sum()


def _simulate(x: Tensor, scale: Tensor | float, base: float, bits: int, out: Tensor) -> Tensor:
    """Code and value in one go, into ``out``."""
    logarithm = torch.div(x, scale, out=out).log2_()
    return _powers_(_codes_(logarithm.mul_(1 / log2(base)), bits), scale, base, bits)


def _codes_(exponents: Tensor, bits: int) -> Tensor:
    """In place: minus the code, a whole number in −2^b .. 0 of which the lowest stands for zero."""
    return exponents.round_().clamp_(-(2.0**bits), 0.0)


def _powers_(exponents: Tensor, scale: Tensor | float, base: float, bits: int) -> Tensor:
    """In place: minus the code → value."""
    functional.threshold_(exponents, -(2.0**bits), float("-inf"))  # 2^−∞ is exactly 0
    return exponents.mul_(log2(base)).exp2_().mul_(scale)


# -- the search for scale and base -----------------------------------------------------------------------
class Quantiles(Protocol):
    """What the search needs of the statistics: those of a shifted tensor have it too."""

    sample: Tensor

    def range(self, p: float | None = None) -> tuple[Tensor, Tensor]: ...


class Shifted:
    """The statistics of ``max(x − offset, 0)``."""

    def __init__(self, statistics: Statistics, offset: Tensor) -> None:
        self._statistics, self._offset = statistics, offset
        self.sample = (statistics.sample - offset.to(statistics.sample.device)).clamp_min(0.0)

    def range(self, p: float | None = None) -> tuple[Tensor, Tensor]:
        lo, hi = self._statistics.range(p)
        return lo - self._offset, hi - self._offset


class ShiftedJudge:
    """What an error of ``max(x − offset, 0)`` does: the same as one of x."""

    def __init__(self, judge: Judge, offset: Tensor) -> None:
        self._judge, self._offset = judge, offset
        self.sample = (judge.sample - offset.to(judge.sample.device)).clamp_min_(0.0)
        self.errors = judge.errors

    def raised(self, power: float) -> ShiftedJudge:
        return ShiftedJudge(self._judge.raised(power), self._offset)


def search(
    statistics: Quantiles, bases: Sequence[float], bits: int, judge: Judge | None = None
) -> tuple[Tensor, float, Tensor]:
    """(scale, base, mean squared error): the percentile whose use as scale, with its base, errs least.

    ``judge``: what ranks in place of the squared error; then the scale is the largest value or a part of it.
    """
    if judge is None:
        return _percentile_and_base(statistics, bases, bits)
    largest = positive(statistics.range()[1][0]).to(judge.sample.device) * ABOVE
    scales = [largest * SHRINK**power for power in range(SHRINKS)]
    _, scale, base = _scale_and_base(lambda *tried: _judged(judge, *tried, bits), scales, bases)
    return (
        scale,
        base,
        _errors(statistics.sample.flatten(), scale, [base], bits)[0] / statistics.sample.numel(),
    )


def finest(
    statistics: Quantiles, bases: Sequence[float], bits: int, judge: Judge
) -> tuple[Tensor, float, Tensor]:
    """(scale, base, mean squared error) that ``judge`` ranks first: every base with scales from a hundredth
    of the largest value on, then closer and closer to the best of them."""
    largest = positive(statistics.range()[1][0]).to(judge.sample.device) * ABOVE
    found = []
    for base in bases:
        error, factor = _closer(lambda f, base=base: _judged(judge, largest * f, [base], bits)[0])
        found.append((error, base, factor))
    _, base, factor = min(found)
    scale = largest * factor
    summed = _errors(statistics.sample.flatten(), scale, [base], bits)[0]
    return scale, base, summed / statistics.sample.numel()


def _closer(error: Callable[[float], Tensor]) -> tuple[float, float]:
    """(error, factor): the best of SCALES factors, then of ever finer ones between its neighbours. Of equal
    ones the largest: errors of huge values may all be infinite."""
    factors = torch.logspace(0, -2, SCALES).tolist()
    for _ in range(ROUNDS):
        errors = [float(error(factor)) for factor in factors]
        best = errors.index(min(errors))
        least = errors[best], factors[best]
        high, low = factors[max(best - 1, 0)], factors[min(best + 1, len(factors) - 1)]
        factors = sorted([least[1], *torch.linspace(low, high, FINER).tolist()], reverse=True)
    return least


def joint(
    statistics: Quantiles, bases: Sequence[float], bits: int, judge: Judge
) -> tuple[Tensor, float, Tensor]:
    """(scale, base, mean squared error) that a progressive combining search ranks first (AdaLog, arXiv
    2407.12951): all pairs of few scales and few bases, then again and again those around the best `BEAM`
    pairs, at half the distance. Of several ``bases`` those between them are tried too.
    """
    largest = positive(statistics.range()[1][0]).to(judge.sample.device) * ABOVE
    reach = (0.0,) if len(bases) == 1 else range(round(_octaves(bases[-1])) + 1)
    pairs = {(_shrunk(power), octaves) for power in range(SHRINKS) for octaves in reach}
    named = (lambda _: bases[0]) if len(bases) == 1 else _tabled
    errors = _ranked(judge, largest, pairs, named, bits)
    step = _shrunk(1), 0.0 if len(bases) == 1 else 1.0
    for _ in range(ROUNDS):
        step = step[0] / 2, step[1] / 2
        best = sorted(errors, key=errors.__getitem__)[:BEAM]
        near = {pair for known in best for pair in _around(known, step)} - errors.keys()
        errors |= _ranked(judge, largest, near, named, bits)
    shrunk, octaves = min(errors, key=errors.__getitem__)
    scale, base = largest * 2.0**-shrunk, named(octaves)
    summed = _errors(statistics.sample.flatten(), scale, [base], bits)[0]
    return scale, base, summed / statistics.sample.numel()


def _shrunk(power: int) -> float:
    """How many halvings ``SHRINK`` to this power is."""
    return -power * log2(SHRINK)


def _octaves(base: float) -> float:
    """log2 of how many codes an octave has."""
    return -log2(log2(base))


def _tabled(octaves: float) -> float:
    """The base 2^(37/q) with about 2^octaves codes to an octave."""
    return 2.0 ** (TABLE / round(TABLE * min(2.0**octaves, FINEST)))


def _around(pair: tuple[float, float], step: tuple[float, float]) -> set[tuple[float, float]]:
    """The eight neighbours, none of a larger scale than the largest value or of a base above 4."""
    return {
        (max(pair[0] + down * step[0], 0.0), max(pair[1] + finer * step[1], -1.0))
        for down in (-1, 0, 1)
        for finer in (-1, 0, 1)
    }


def _ranked(
    judge: Judge,
    largest: Tensor,
    pairs: Collection[tuple[float, float]],
    named: Callable[[float], float],
    bits: int,
) -> dict[tuple[float, float], float]:
    """{pair: what the judge says of it}; the logarithm is taken once for each scale."""
    found = {}
    for shrunk in sorted({shrunk for shrunk, _ in pairs}):
        mine = sorted(octaves for each, octaves in pairs if each == shrunk)
        errors = _judged(judge, largest * 2.0**-shrunk, [named(octaves) for octaves in mine], bits)
        found |= {(shrunk, octaves): float(error) for octaves, error in zip(mine, errors, strict=True)}
    return found


def _percentile_and_base(
    statistics: Quantiles, bases: Sequence[float], bits: int
) -> tuple[Tensor, float, Tensor]:
    sample = statistics.sample.flatten()
    if len(bases) > 1:
        sample = sample[:: -(-len(sample) // SEARCHED)].contiguous()
    scales = [positive(statistics.range(p)[1][0]).to(sample.device) for p in PERCENTILES]
    error, scale, base = _scale_and_base(lambda *tried: _errors(sample, *tried, bits), scales, bases)
    return scale, base, error / sample.numel()


def _scale_and_base(
    rank: Callable[[Tensor, Sequence[float]], list[Tensor]], scales: list[Tensor], bases: Sequence[float]
) -> tuple[Tensor, Tensor, float]:
    """(error, scale, base): every scale with every COARSE-th base, then the best with the bases near it."""
    tried = range(0, len(bases), COARSE)
    errors = [(rank(scale, [bases[i] for i in tried]), scale) for scale in scales]
    least, scale = min(errors, key=lambda pair: min(pair[0]))
    best = tried[least.index(min(least))]
    near = bases[max(best - COARSE + 1, 0) : best + COARSE]
    least = rank(scale, near) if len(near) > 1 else least
    return min(least), scale, near[least.index(min(least))]


def positive(scale: Tensor) -> Tensor:
    """A scale that can divide: 1 where the data were all zero."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def _errors(sample: Tensor, scale: Tensor, bases: Sequence[float], bits: int) -> list[Tensor]:
    """The summed squared error with each base."""
    errors = [torch.zeros_like(scale) for _ in bases]
    for x in sample.split(pieces.PIECE):
        logarithm = torch.div(x, scale).log2_()
        room = torch.empty_like(x)
        for error, base in zip(errors, bases, strict=True):
            exponents = _codes_(torch.mul(logarithm, 1 / log2(base), out=room), bits)
            error += _powers_(exponents, scale, base, bits).sub_(x).square_().sum()
    return errors


def _judged(judge: Judge, scale: Tensor, bases: Sequence[float], bits: int) -> list[Tensor]:
    """What the judge says of each base."""
    logarithm, errors = torch.div(judge.sample, scale).log2_(), []
    for base in bases:
        exponents = _codes_(torch.mul(logarithm, 1 / log2(base)), bits)
        errors.append(judge.errors(_powers_(exponents, scale, base, bits).sub_(judge.sample))[0])
    return errors
