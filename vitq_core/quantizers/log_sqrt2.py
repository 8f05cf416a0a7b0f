"""Log-√2 quantizer for post-softmax attention (RepQ-ViT, arXiv 2212.08254): code k stands for scale · 2^(−k/2)."""

from __future__ import annotations

from math import log2

import torch
from torch import Tensor

from .base import PERCENTILES, QUANTIZERS, Quantizer
from .statistics import Statistics


@QUANTIZERS.register("log_sqrt2")
class LogSqrt2(Quantizer):
    """``q = ⌊−log_base(x/s)⌉`` clamped at 0 from below; ``q ≥ 2^b`` stands for exactly 0.

    For ``x ≥ 0``. ``base``: √2 unless given. The zero takes one code more than the 2^b powers. With a fixed base more
    bits only add ever smaller values: the signal-to-noise ratio stays near 20 dB from 4 bits on.
    """

    SETTINGS = (*Quantizer.SETTINGS, "base")

    def __init__(self, bits: int, base: float = 2.0**0.5) -> None:
        super().__init__(bits)
        self.base = base

    def _solve(self, statistics: Statistics) -> None:
        sample = statistics.sample
        self.scale, error = self._search(statistics, sample)
        self._note_error(sample, error)

    def _search(self, statistics: Statistics, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The percentile whose use as scale has the least squared error on ``sample``, and that error."""
        best = None
        for p in PERCENTILES:
            scale = positive(statistics.range(p)[1][0]).to(sample.device)
            error = self._powers(self._exponents(sample, scale), scale).sub_(sample).square_().mean()
            if best is None or error < best[1]:
                best = scale, error
        return best

    def _exponents(self, x: Tensor, scale: Tensor) -> Tensor:
        """Codes as floats: 0 .. 2^b, the last one for zero."""
        return (x / scale).log2_().mul_(-1 / log2(self.base)).round_().clamp_(0, 2**self.bits)

    def _powers(self, exponents: Tensor, scale: Tensor) -> Tensor:
        zero = exponents >= 2**self.bits
        return (exponents * -log2(self.base)).exp2_().mul_(scale).masked_fill_(zero, 0.0)

    def simulate(self, x: Tensor) -> Tensor:
        return self._powers(self._exponents(x, self.scale), self.scale)

    def encode(self, x: Tensor) -> Tensor:
        return self._exponents(x, self.scale).int()

    def decode(self, codes: Tensor) -> Tensor:
        return self._powers(codes.float(), self.scale)

    def levels(self) -> Tensor:
        return self.decode(torch.arange(2**self.bits + 1, device=self.scale.device)).flip(0)


def positive(scale: Tensor) -> Tensor:
    """A scale that can divide: 1 where the data were all zero."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))
