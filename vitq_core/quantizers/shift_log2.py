"""Shift-log2 for post-GELU activations (ADFQ-ViT, arXiv 2407.02763): a log quantizer above the minimum."""

from __future__ import annotations

from torch import Tensor

from .base import QUANTIZERS
from .judges import Judge
from .kernels import logarithmic as kernels
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

    @property
    def offset(self) -> Tensor:
        """``m − ε``."""
        return self.minimum - EPSILON

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        minimum = statistics.range()[0][0]
        shifted = kernels.Shifted(statistics, minimum - EPSILON)
        judge = self._ranks(statistics, judge)
        judge = judge and kernels.ShiftedJudge(judge, minimum - EPSILON)
        self.minimum = minimum.to(statistics.device)
        self.scale, self.base, error = self._search(shifted, judge)
        self._note_error(statistics.sample, error)

    def encode(self, x: Tensor) -> Tensor:
        return super().encode((x - self.offset).clamp_min_(0.0))

    def decode(self, codes: Tensor) -> Tensor:
        return super().decode(codes).add_(self.offset)

    def _simulator(self) -> kernels.Simulate:
        return kernels.shifted_simulator(self.scale, self.offset, self.base, self.bits)

    def _differentiator(self) -> kernels.Differentiate:
        return kernels.shifted_differentiator(self.scale, self.offset)
