"""Shift-log2 for post-GELU activations (ADFQ-ViT, arXiv 2407.02763): a log quantizer above the minimum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import QUANTIZERS, dot, passing, plain
from .log_sqrt2 import LogSqrt2
from .statistics import Statistics

EPSILON = 1e-6


@QUANTIZERS.register("shift_log2")
class ShiftLog2(LogSqrt2):
    """``x' = x − m + ε`` with the calibrated minimum m, then the log quantizer, then back.

    ``base``: √2 as in the authors' published code, more accurate than the 2 of the paper's text. Values
    below the calibrated minimum get the zero code, which stands for ``m − ε``.
    """

    PARAMETERS = ("scale", "minimum")

    def _solve(self, statistics: Statistics) -> None:
        minimum = statistics.range()[0][0]
        self.minimum = minimum.to(statistics.sample.device)
        shifted = _Shifted(statistics, EPSILON - minimum)
        self.scale, error = self._search(shifted, shifted.sample)
        self._note_error(statistics.sample, error)

    def _simulator(self) -> Callable[[Tensor, Tensor], Tensor]:
        scale, offset = plain(self.scale, self.minimum - EPSILON)

        def simulate(source: Tensor, target: Tensor) -> Tensor:
            shifted = torch.sub(source, offset, out=target).clamp_min_(0.0)
            return self._simulated(shifted, scale, target).add_(offset)

        return simulate

    def _differentiator(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        offset = self.minimum - EPSILON
        largest = (self.scale + offset).item()

        def differentiate(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            drawn = dot(simulated, gradient) - offset * gradient.sum()
            passing(gradient, x, float("-inf"), largest, out=simulated)
            return drawn

        return differentiate

    def encode(self, x: Tensor) -> Tensor:
        return super().encode((x - (self.minimum - EPSILON)).clamp_min_(0.0))

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes).add_(self.minimum - EPSILON)


class _Shifted:
    """The statistics of x + offset, for a search that knows nothing of shifts."""

    def __init__(self, statistics: Statistics, offset: Tensor) -> None:
        self._statistics, self._offset = statistics, offset
        self.sample = (statistics.sample + offset.to(statistics.sample.device)).clamp_min(0.0)

    def range(self, p: float) -> tuple[Tensor, Tensor]:
        lo, hi = self._statistics.range(p)
        return lo + self._offset, hi + self._offset
