"""Uniform affine quantizer: code q stands for scale · (q − zero_point); per tensor, channel or weight row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import PERCENTILES, PIECE, QUANTIZERS, Quantizer, dot, passing, plain
from .statistics import Statistics

RANGES = ("percentile", "minmax", "least_error")
SHRINK, SHRINKS = 0.96, 40  # of the extremes: powers of a factor, down to a fifth
COARSE = 4  # every so many of them are tried, then those between the best one and its neighbours
SEARCHED = 2**19  # values that so many candidates are ranked on
CLIPPED = 0.5001  # steps: what rounding can move a value by, and a bit for its own rounding


@QUANTIZERS.register("uniform")
class Uniform(Quantizer):
    """``x̂ = s · (clamp(⌊x/s⌉ + z, 0, 2^b − 1) − z)``.

    ``axis``: the axis with one (s, z) per index; None: one for the tensor. ``range``: ``"percentile"``
    searches the quantiles 0.999, 0.9999, 0.99999 for the least squared error (RepQ-ViT, arXiv 2212.08254),
    ``"minmax"`` takes the extremes, ``"least_error"`` the extremes times the factor in 0.2..1 with the least
    squared error, which matters most at 2 and 3 bits.

    A reparameterized site may have a fractional zero point (the mean over channels, as published): the clamp
    then cuts between codes, and the codes number 2^b + 1.
    """

    PARAMETERS = ("scale", "zero_point")
    SETTINGS = (*Quantizer.SETTINGS, "axis", "range")

    def __init__(self, bits: int, axis: int | None = None, range: str = "percentile") -> None:
        super().__init__(bits)
        if range not in RANGES:
            raise ValueError(f"range must be one of {', '.join(RANGES)}, got {range!r}")
        self.axis = axis
        self.range = range

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return () if self.axis is None else (self.axis,)

    def _solve(self, statistics: Statistics) -> None:
        scale, zero_point = self._search(statistics)
        self.set_parameters(statistics.unflatten(scale), statistics.unflatten(zero_point))

    def _search(self, statistics: Statistics) -> tuple[Tensor, Tensor]:
        """Per group, the (scale, zero point) whose range has the least squared error."""
        if self.range == "least_error":
            statistics.thin(SEARCHED)
        sample = statistics.sample
        if self.range == "percentile":
            ends = [statistics.range(p) for p in PERCENTILES]
            lows, highs = (torch.stack(each).to(sample.device) for each in zip(*ends, strict=True))
        else:
            lows, highs = (end[None].to(sample.device) for end in statistics.range())
        if self.range == "least_error":
            factors = self._shrinks(sample, lows, highs)
            lows, highs = lows * factors, highs * factors
        scales, zero_points = affine(lows, highs, self.bits)
        errors = _errors(sample, scales, zero_points, self.bits)
        best = errors.argmin(0, keepdim=True)
        self._note_error(sample, errors.gather(0, best)[0])
        return scales.gather(0, best)[0], zero_points.gather(0, best)[0]

    def _shrinks(self, sample: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The factors [candidates, groups] to choose from, around the best of a coarse search."""
        powers = torch.arange(0, SHRINKS, COARSE, device=low.device)[:, None]
        coarse = SHRINK**powers
        best = _errors(sample, *affine(low * coarse, high * coarse, self.bits), self.bits).argmin(0)
        near = torch.arange(1 - COARSE, COARSE, device=low.device)[:, None]
        return SHRINK ** (powers[best, 0] + near).clamp(0, SHRINKS - 1)

    def set_parameters(self, scale: Tensor, zero_point: Tensor) -> None:
        """Use these, in a shape that broadcasts against the tensor to be quantized."""
        self.scale, self.zero_point = scale, zero_point

    def limits(self) -> tuple[Tensor, Tensor]:
        """The clamp of ⌊x/s⌉: −z and 2^b − 1 − z."""
        return -self.zero_point, 2**self.bits - 1 - self.zero_point

    def _steps(self) -> tuple[Tensor, Tensor, Tensor] | tuple[float, float, float]:
        """The scale and the limits, as plain numbers where they can be."""
        scale, zero_point = plain(self.scale, self.zero_point)
        return scale, -zero_point, 2**self.bits - 1 - zero_point

    def _simulator(self) -> Callable[[Tensor, Tensor], Tensor]:
        scale, low, high = self._steps()
        return lambda source, target: simulate_uniform(source, scale, low, high, target)

    def _differentiator(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """LSQ (arXiv 1902.08153): rounding counts as identity, a clipped value moves with the scale alone."""
        scale, low, high = self._steps()

        def one_scale(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            drawn = dot(simulated, gradient)
            passing(gradient, x, (low - CLIPPED) * scale, (high + CLIPPED) * scale, out=simulated)
            return drawn - dot(x, simulated)

        def many_scales(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            drawn = simulated * gradient
            moved = simulated.sub_(x).div_(scale)
            passing(gradient, moved, -CLIPPED, CLIPPED, out=simulated)
            return drawn.addcmul_(x, simulated, value=-1).sum_to_size(scale.shape)

        return one_scale if isinstance(scale, float) else many_scales

    def encode(self, x: Tensor) -> Tensor:
        low, high = self.limits()
        return ((x / self.scale).round_().clamp_(low.floor(), high.ceil()) - low.floor()).int()

    def decode(self, codes: Tensor) -> Tensor:
        low, high = self.limits()
        return (codes + low.floor()).clamp_(low, high).mul_(self.scale)

    def levels(self) -> Tensor:
        low, high = (limit.reshape(-1)[0] for limit in self.limits())
        steps = torch.arange(int(low.floor()), int(high.ceil()) + 1).to(self.scale)
        return steps.clamp(low, high).unique() * self.scale.reshape(-1)[0]


def affine(lo: Tensor, hi: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(scale, integer zero point) of the range [lo, hi]; for a range of one value a scale that holds it."""
    scale = (hi - lo) / (2**bits - 1)
    largest = torch.maximum(lo.abs(), hi.abs())
    empty = scale <= largest * 1e-7
    scale = torch.where(empty, torch.where(largest > 0, largest, torch.ones_like(largest)), scale)
    return scale, (-lo / scale).round()


def simulate_uniform(
    x: Tensor, scale: Tensor | float, low: Tensor | float, high: Tensor | float, out: Tensor
) -> Tensor:
    """``s · clamp(⌊x/s⌉, low, high)`` into ``out``; parameters broadcast against ``x``."""
    steps = torch.div(x, scale, out=out).round_()
    if isinstance(scale, float):
        return steps.clamp_(low, high).mul_(scale)
    # With two tensors clamp_ takes no vector instructions, each alone does.
    return torch.minimum(torch.maximum(steps, low, out=out), high, out=out).mul_(scale)


def _errors(sample: Tensor, scales: Tensor, zero_points: Tensor, bits: int) -> Tensor:
    """Squared errors [candidates, groups], as many candidates at a time as make one piece."""
    together = max(1, PIECE // sample.numel())
    errors = []
    for s, z in zip(scales.split(together), zero_points.split(together), strict=True):
        repeated = sample if len(s) == 1 else sample.repeat(len(s), 1)
        found = _squared_error(repeated, s.reshape(-1, 1), z.reshape(-1, 1), bits)
        errors.append(found.reshape(len(s), -1))
    return torch.cat(errors)


def _squared_error(sample: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Mean squared error [groups] of simulating ``sample`` [groups, values], in cache-sized pieces."""
    errors = []
    rows = max(1, PIECE // sample.shape[1])
    for part, s, z in zip(sample.split(rows), scale.split(rows), zero_point.split(rows), strict=True):
        errors.append(sum(_error_sum(piece, s, z, bits) for piece in part.split(PIECE, dim=1)))
    return torch.cat(errors) / sample.shape[1]


def _error_sum(x: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    parameters = plain(scale, -zero_point, 2**bits - 1 - zero_point)
    return simulate_uniform(x, *parameters, torch.empty_like(x)).sub_(x).square_().sum(dim=1)
