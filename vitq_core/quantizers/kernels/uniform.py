"""Uniform codes fast: simulation in place, the gradient of the scale, the search for the range."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from ..judges import Judge, raised_
from ..statistics import PERCENTILES, Statistics, even_stride
from . import pieces
from .gradients import Differentiate, dot, zero_outside
from .pieces import Simulate, plain_numbers

SHRINK, SHRINKS = 0.96, 40  # of the extremes: powers of a factor, down to a fifth
COARSE = 4  # every so many of them are tried, then those between the best one and its neighbours
SEARCHED = 2**19  # values that so many candidates are ranked on
SEARCHED_CLOSELY = 2**16  # by width and place
SEARCHED_OF_EACH = 2**13  # of each batch that has a range of its own
LEAST_ERROR, TAILS = "least_error", "tails"
JUDGED = (LEAST_ERROR, TAILS)  # ranges that are ranked by a layer's output
POWER, MEAN_POWER = "power", "mean_power"
SIGNED, EMA, RUNNING, LAST = "signed", "ema", "running_percentile", "last_batch"
STEP_OF_MEAN, RUNNING_QUANTILE = 0.01, 0.99999  # FQ-ViT's observers
LAST_SHRINKS = 90  # of 1 % each
BY_BATCH = ("mean", MEAN_POWER, EMA, RUNNING, LAST)  # ranges made of those of single batches
EXPONENT = 2.4  # of the error that PTQ4SAM's searches make least
TRIED = 8  # batches that other zero points are tried on
FINE, COARSE_GRID, ROUNDS = (16, 17), (12, 9), 5  # widths and places of a range, how often they close in
CLIPPED = 0.5001  # steps: what rounding can move a value by, and a bit for its own rounding


# -- simulation and its gradient -------------------------------------------------------------------------
def simulator(scale: Tensor, zero_point: Tensor, bits: int) -> Simulate:
    """``s · (clamp(⌊x/s⌉ + z, 0, 2^b − 1) − z)``."""
    scale, low, high = _steps(scale, zero_point, bits)
    return lambda source, target: _simulate(source, scale, low, high, target)


def shifted_simulator(scale: Tensor, zero_point: Tensor, bits: int) -> Simulate:
    """``s · (clamp(⌊x/s + z⌉, 0, 2^b − 1) − z)``."""
    scale, zero_point = plain_numbers(scale, zero_point)
    top = 2**bits - 1

    def simulate(source: Tensor, target: Tensor) -> Tensor:
        codes = torch.div(source, scale, out=target).add_(zero_point).round_().clamp_(0, top)
        return codes.sub_(zero_point).mul_(scale)

    return simulate


def keeping_outliers(simulate: Simulate, alpha: float) -> Simulate:
    """What ``simulate`` gives, but ``|x| > α`` as it is."""

    def with_outliers(source: Tensor, target: Tensor) -> Tensor:
        kept = functional.hardshrink(source, alpha)  # 0 where not kept
        simulate(source, target)
        return zero_outside(target, kept, -alpha, alpha, out=target).add_(kept)

    return with_outliers


def differentiator(scale: Tensor, zero_point: Tensor, bits: int) -> Differentiate:
    """LSQ (arXiv 1902.08153): rounding counts as identity, a clipped value moves with the scale alone."""
    scale, low, high = _steps(scale, zero_point, bits)

    def one_scale(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
        drawn = dot(simulated, gradient)
        zero_outside(gradient, x, (low - CLIPPED) * scale, (high + CLIPPED) * scale, out=simulated)
        return drawn - dot(x, simulated)

    def many_scales(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
        drawn = simulated * gradient
        moved = simulated.sub_(x).div_(scale)
        zero_outside(gradient, moved, -CLIPPED, CLIPPED, out=simulated)
        return drawn.addcmul_(x, simulated, value=-1).sum_to_size(scale.shape)

    return one_scale if isinstance(scale, float) else many_scales


def _steps(
    scale: Tensor, zero_point: Tensor, bits: int
) -> tuple[Tensor, Tensor, Tensor] | tuple[float, float, float]:
    """The scale and the limits of ⌊x/s⌉, as plain numbers where they can be."""
    scale, zero_point = plain_numbers(scale, zero_point)
    return scale, -zero_point, 2**bits - 1 - zero_point


def _simulate(
    x: Tensor, scale: Tensor | float, low: Tensor | float, high: Tensor | float, out: Tensor
) -> Tensor:
    """``s · clamp(⌊x/s⌉, low, high)`` into ``out``; parameters broadcast against ``x``."""
    steps = torch.div(x, scale, out=out).round_()
    if isinstance(scale, float):
        return steps.clamp_(low, high).mul_(scale)
    # With two tensors clamp_ takes no vector instructions, each alone does.
    return torch.minimum(torch.maximum(steps, low, out=out), high, out=out).mul_(scale)


# -- the search for the range ----------------------------------------------------------------------------
def percentile_ranges(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """The quantiles that RepQ-ViT tries: (lows, highs), each [candidates, groups]."""
    lows, highs = zip(*(statistics.range(p) for p in PERCENTILES), strict=True)
    return torch.stack(lows).to(statistics.device), torch.stack(highs).to(statistics.device)


def extremes(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """One candidate: (lows, highs), each [1, groups]."""
    low, high = (end[None].to(statistics.device) for end in statistics.range())
    return low, high


def extremes_and_percentiles(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """Nothing cut off, or the little that the quantiles do: (lows, highs), each [candidates, groups]."""
    both = zip(extremes(statistics), percentile_ranges(statistics), strict=True)
    lows, highs = (torch.cat(ends) for ends in both)
    return lows, highs


def mean_extremes(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """One candidate: the batches' extremes in the mean, and 0 (PTQ4SAM)."""
    lows, highs = (torch.stack(ends) for ends in list(zip(*statistics.batches, strict=True))[:2])
    return lows.mean(0, keepdim=True).clamp_max(0), highs.mean(0, keepdim=True).clamp_min(0)


def moving_extremes(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """One candidate: the batches' extremes, of which each moves the mean by a hundredth (FQ-ViT's EMA)."""
    return _moving([ends[:2] for ends in statistics.batches])


def moving_percentiles(statistics: Statistics) -> tuple[Tensor, Tensor]:
    """The same of each batch's quantiles 0.00001 and 0.99999 (FQ-ViT)."""
    return _moving([_quantiles(sample) for _, _, sample in statistics.batches])


def _moving(ends: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    low, high = ends[0]
    for new_low, new_high in ends[1:]:
        low = low + STEP_OF_MEAN * (new_low - low)
        high = high + STEP_OF_MEAN * (new_high - high)
    return low[None], high[None]


def _quantiles(sample: Tensor) -> tuple[Tensor, Tensor]:
    """Of each group, as ``torch.quantile`` has them, which takes no more than 2^24 values."""
    found = Statistics((0,))
    found.update(sample)
    low, high = found.range(RUNNING_QUANTILE)
    return low.to(sample.device), high.to(sample.device)


RANGES = {
    "percentile": percentile_ranges,
    "minmax": extremes,
    LEAST_ERROR: extremes,
    TAILS: extremes_and_percentiles,
    "mean": mean_extremes,
    POWER: extremes,
    MEAN_POWER: extremes,
    SIGNED: extremes,
    EMA: moving_extremes,
    RUNNING: moving_percentiles,
    LAST: extremes,
}


def search(
    statistics: Statistics, bits: int, ranges: str, judge: Judge | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Per group, the (scale, zero point, mean squared error) of the candidate with the least error.

    ``judge``: what ranks the shrunk extremes, and the percentiles too, which cut one end alone; None: the
    mean squared error ranks the shrunk extremes.
    """
    if ranges in (POWER, MEAN_POWER):
        return _of_least_power(statistics, bits, ranges == MEAN_POWER)
    if ranges == SIGNED:
        return _signed(statistics, bits)
    if ranges == LAST:
        return _best(*_of_last_batch(statistics, bits))
    lows, highs = RANGES[ranges](statistics)
    if judge is None:
        if ranges != LEAST_ERROR:
            return _best(*_ranked(statistics.sample, lows, highs, bits))
        statistics.thin(SEARCHED)  # so many candidates are ranked on fewer values
        return _best(*_shrunk(lambda *ends: _ranked(statistics.sample, *ends, bits), lows, highs))
    rank = partial(_judged, judge, bits=bits)
    tried = [rank(lows, highs)]
    if ranges == LEAST_ERROR:
        tried = [_shrunk(rank, lows, highs), rank(*percentile_ranges(statistics))]
    scale, zero_point, _ = _best(*(torch.cat(each) for each in zip(*tried, strict=True)))
    error = _squared_error(statistics.sample, scale[:, None], zero_point[:, None], bits)
    return scale, zero_point, error


def _signed(statistics: Statistics, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Codes −h..h − 1 around 0 (h = 2^(b−1)), ``s = max|x| / (h − ½)``: the largest value lies between two
    codes, and the last bit of its quotient says which it gets (FQ-ViT and PSAQ-ViT, as published)."""
    half = 2 ** (bits - 1)
    low, high = (ends[0] for ends in extremes(statistics))
    scale = torch.maximum(low.abs(), high.abs()) / (half - 0.5)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero_point = torch.full_like(scale, half)
    error = _squared_error(statistics.sample, scale[:, None], zero_point[:, None], bits)
    return scale, zero_point, error


def _of_last_batch(statistics: Statistics, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """All batches' extremes shrunk by up to 89 %, ranked on the last batch alone (FQ-ViT's OMSE)."""
    low, high = extremes(statistics)
    factors = 1 - 0.01 * torch.arange(LAST_SHRINKS, device=low.device)[:, None]
    return _ranked(statistics.batches[-1][2], low * factors, high * factors, bits)


def _of_least_power(statistics: Statistics, bits: int, by_batch: bool) -> tuple[Tensor, Tensor, Tensor]:
    if by_batch:
        scale, zero_point = _mean_of_least(statistics.batches, bits)
    else:
        statistics.thin(SEARCHED_CLOSELY)  # so many candidates are ranked on fewer values
        ends = (end.to(statistics.device) for end in statistics.range())
        scale, zero_point = scale_and_zero_point(
            *least_power(statistics.sample, *ends, bits, COARSE_GRID), bits
        )
    return scale, zero_point, _squared_error(statistics.sample, scale[:, None], zero_point[:, None], bits)


def _mean_of_least(batches: list[tuple[Tensor, Tensor, Tensor]], bits: int) -> tuple[Tensor, Tensor]:
    """(scale, zero point) of every batch's best ends in the mean, moved a little to what serves a few of the
    batches best: which way the mean's zero point is rounded is worth a sixth of the error."""
    batches = [(low, high, _few(sample)) for low, high, sample in batches]
    found = [least_power(sample, low, high, bits) for low, high, sample in batches]
    scale, zero_point = scale_and_zero_point(
        *(torch.stack(each).mean(0) for each in zip(*found, strict=True)), bits
    )
    tried = [(scale, zero_point + step) for step in (0, -1, 1)]
    few = batches[:: -(-len(batches) // TRIED)]
    scales, zero_points = (torch.stack(each) for each in zip(*tried, strict=True))
    errors = torch.stack([_power_errors(sample, scales, zero_points, bits) for _, _, sample in few])
    shares = (errors / errors.amin(1, keepdim=True).clamp_min(1e-30)).sum(0)  # [candidates, groups]
    return _best(scales, zero_points, shares)[:2]


def _few(sample: Tensor) -> Tensor:
    return sample[:, :: even_stride(sample.numel(), sample.shape[1], SEARCHED_OF_EACH)]


def least_power(
    sample: Tensor, low: Tensor, high: Tensor, bits: int, grid: tuple[int, int] = FINE
) -> tuple[Tensor, Tensor]:
    """Ends [groups] within ``low`` and ``high`` with the least ``Σ|x̂ − x|^2.4`` of ``sample`` [groups,
    values]: the width of the range and where in the extremes it lies, closed in on together. ``grid``: how
    many of each are tried at a time."""
    steps = [torch.linspace(-1, 1, count, device=low.device) for count in grid]
    by_width, by_place = (step.flatten()[:, None] for step in torch.meshgrid(*steps, indexing="ij"))
    width, place, reach = torch.full_like(low, 0.55), torch.full_like(low, 0.5), 0.45
    for _ in range(ROUNDS):
        widths = (width + reach * by_width).clamp(0.01, 1.0)
        places = (place + min(reach / 0.9, 0.5) * by_place).clamp(0.0, 1.0)
        ends = _within(low, high, widths, places)
        best = _power_errors(sample, *scale_and_zero_point(*ends, bits), bits).argmin(0, keepdim=True)
        width, place = (each.gather(0, best)[0] for each in (widths, places))
        reach /= 4
    return _within(low, high, width, place)


def _within(low: Tensor, high: Tensor, share: Tensor, spot: Tensor) -> tuple[Tensor, Tensor]:
    """A part of the range: ``share`` of its width, from its beginning (0) to its end (1)."""
    start = low + spot * (1 - share) * (high - low)
    return start, start + share * (high - low)


def _power_errors(sample: Tensor, scales: Tensor, zero_points: Tensor, bits: int) -> Tensor:
    """[candidates, groups], as many candidates at a time as make one piece."""
    together, errors = max(1, pieces.PIECE // sample.numel()), []
    for s, z in zip(scales.split(together), zero_points.split(together), strict=True):
        repeated = sample.expand(len(s), *sample.shape)
        simulated = torch.empty(repeated.shape, dtype=sample.dtype, device=sample.device)
        simulator(s[..., None], z[..., None], bits)(repeated, simulated)
        errors.append(raised_(simulated.sub_(repeated), EXPONENT).sum(dim=-1))
    return torch.cat(errors)


# Of ranges (lows, highs), each [candidates, groups]: their scales, zero points and errors, shaped as they.
Rank = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def _shrunk(rank: Rank, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The extremes [1, groups] times factors: those around the best of a coarse search."""
    powers = torch.arange(0, SHRINKS, COARSE, device=low.device)[:, None]
    coarse = SHRINK**powers
    best = rank(low * coarse, high * coarse)[2].argmin(0)
    near = torch.arange(1 - COARSE, COARSE, device=low.device)[:, None]
    factors = SHRINK ** (powers[best, 0] + near).clamp(0, SHRINKS - 1)
    return rank(low * factors, high * factors)


def _best(scales: Tensor, zero_points: Tensor, errors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    best = errors.argmin(0, keepdim=True)
    scale, zero_point, error = (each.gather(0, best)[0] for each in (scales, zero_points, errors))
    return scale, zero_point, error


def _ranked(sample: Tensor, lows: Tensor, highs: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    scales, zero_points = scale_and_zero_point(lows, highs, bits)
    return scales, zero_points, squared_errors(sample, scales, zero_points, bits)


def _judged(judge: Judge, lows: Tensor, highs: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    scales, zero_points = scale_and_zero_point(lows, highs, bits)
    errors = [_judge(judge, s[:, None], z[:, None], bits) for s, z in zip(scales, zero_points, strict=True)]
    return scales, zero_points, torch.stack(errors)


def _judge(judge: Judge, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    simulated = torch.empty_like(judge.sample)
    simulator(scale, zero_point, bits)(judge.sample, simulated)
    return judge.errors(simulated.sub_(judge.sample))


def scale_and_zero_point(lo: Tensor, hi: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(scale, whole zero point) of the range [lo, hi]; for a range of one value a scale that holds it."""
    scale = (hi - lo) / (2**bits - 1)
    largest = torch.maximum(lo.abs(), hi.abs())
    empty = scale <= largest * 1e-7
    scale = torch.where(empty, torch.where(largest > 0, largest, torch.ones_like(largest)), scale)
    return scale, (-lo / scale).round()


def scaled_extremes(low: Tensor, high: Tensor, factors: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """(scales, zero points), [candidates, groups] each, of the extremes [groups] times ``factors``; a zero
    point is a code, so a range that leaves out 0 is moved to it (APQ-ViT, arXiv 2303.14341)."""
    lows, highs = factors[:, None] * low, factors[:, None] * high
    scale = (highs - lows) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.maximum(lows.abs(), highs.abs()))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, (-(lows / scale).round()).clamp_(0, 2**bits - 1)


def squared_errors(sample: Tensor, scales: Tensor, zero_points: Tensor, bits: int) -> Tensor:
    """Squared errors [candidates, groups], as many candidates at a time as make one piece."""
    together = max(1, pieces.PIECE // sample.numel())
    errors = []
    for s, z in zip(scales.split(together), zero_points.split(together), strict=True):
        repeated = sample if len(s) == 1 else sample.repeat(len(s), 1)
        found = _squared_error(repeated, s.reshape(-1, 1), z.reshape(-1, 1), bits)
        errors.append(found.reshape(len(s), -1))
    return torch.cat(errors)


def _squared_error(sample: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
    """Mean squared error [groups] of simulating ``sample`` [groups, values], in cache-sized pieces."""
    errors = []
    rows = max(1, pieces.PIECE // sample.shape[1])
    for part, s, z in zip(sample.split(rows), scale.split(rows), zero_point.split(rows), strict=True):
        simulate = simulator(s, z, bits)
        errors.append(sum(_error_sum(simulate, piece) for piece in part.split(pieces.PIECE, dim=1)))
    return torch.cat(errors) / sample.shape[1]


def _error_sum(simulate: Simulate, x: Tensor) -> Tensor:
    simulate(x, simulated := torch.empty_like(x))
    return simulated.sub_(x).square_().sum(dim=1)
