"""Shift-log2 quantizer for post-GELU activations (ADFQ-ViT, arXiv 2407.02763): a log quantizer above the minimum."""

from __future__ import annotations

from torch import Tensor

from .base import QUANTIZERS
from .log_sqrt2 import LogSqrt2
from .statistics import Statistics

EPSILON = 1e-6


@QUANTIZERS.register("shift_log2")
class ShiftLog2(LogSqrt2):
    """``x' = x − m + ε`` with the calibrated minimum m, then the log quantizer, then back.

    ``base``: √2 as in the authors' published code, more accurate than the 2 of the paper's text. Values below the
    calibrated minimum get the zero code, which stands for ``m − ε``.
    """

    PARAMETERS = ("scale", "minimum")

    def _solve(self, statistics: Statistics) -> None:
        self.minimum = statistics.range()[0][0]
        shifted = _Shifted(statistics, EPSILON - self.minimum)
        self.scale, error = self._search(shifted, shifted.sample)
        self._note_error(statistics.sample, error)

    def _shift(self, x: Tensor) -> Tensor:
        return (x - self.minimum).add_(EPSILON).clamp_min_(0.0)

    def _unshift(self, x: Tensor) -> Tensor:
        return x.add_(self.minimum).sub_(EPSILON)

    def simulate(self, x: Tensor) -> Tensor:
        return self._unshift(super().simulate(self._shift(x)))

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(self._shift(x))

    def decode(self, codes: Tensor) -> Tensor:
        return self._unshift(super().decode(codes))


class _Shifted:
    """The statistics of x + offset, for a search that knows nothing of shifts."""

    def __init__(self, statistics: Statistics, offset: Tensor) -> None:
        self._statistics, self._offset = statistics, offset
        self.sample = (statistics.sample + offset.to(statistics.sample.device)).clamp_min(0.0)

    def range(self, p: float) -> tuple[Tensor, Tensor]:
        lo, hi = self._statistics.range(p)
        return lo + self._offset, hi + self._offset
