"""Log-√2 quantizer for post-softmax attention (RepQ-ViT, arXiv 2212.08254): code k is scale · 2^(−k/2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor
from torch.nn import functional

from ..common.checks import check_number
from ..common.options import option
from .base import PERCENTILES, PIECE, QUANTIZERS, Quantizer, dot, passing, plain
from .statistics import Statistics

# From one octave a code to 32 codes an octave: fine enough near 1 for 8 bits.
STEPS = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
BASE_CHOICES = {"√2": "sqrt2", "2": 2.0, "fitted": "fitted"}
BASES = tuple(2.0 ** (1 / steps) for steps in STEPS)
COARSE = 3  # every so many of them are tried, then those between the best one and its neighbours
SEARCHED = 2**18  # values that so many bases are ranked on


def checked_base(name: str, value: object) -> float | str | None:
    """None, ``"fitted"``, or a number above 1; ``"sqrt2"`` is one."""
    if not isinstance(value, str):  # an array's == is no yes or no
        check_number(name, value, above=1.0, below=16.0)
    elif value == "sqrt2":
        return 2.0**0.5
    elif value != "fitted":
        check_number(name, value, above=1.0, below=16.0)
    return value


@dataclass(frozen=True)
class LogOptions:
    """Of every logarithmic quantizer."""

    # base of the codes; None: the recipe's
    base: float | str | None = option(
        None, "Base of the log codes", checked_base, name="log_base", choices=BASE_CHOICES
    )


@QUANTIZERS.register("log_sqrt2")
class LogSqrt2(Quantizer):
    """``q = ⌊−log_base(x/s)⌉`` clamped at 0 from below; ``q ≥ 2^b`` stands for exactly 0.

    For ``x ≥ 0``. ``base``: √2 unless given. The zero takes one code more than the 2^b powers. With a fixed
    base more bits only add ever smaller values: signal to noise stays near 20 dB from 4 bits on. ``"fitted"``
    takes the base with the least squared error, each with its best scale (after AdaLog, arXiv 2407.12951).
    """

    Options = LogOptions
    SETTINGS = (*Quantizer.SETTINGS, "base")

    def __init__(self, bits: int, base: float | str = 2.0**0.5) -> None:
        super().__init__(bits)
        self._bases = BASES if base == "fitted" else (base,)
        self.base = self._bases[0]

    def _solve(self, statistics: Statistics) -> None:
        sample = statistics.sample
        self.scale, error = self._search(statistics, sample)
        self._note_error(sample, error)

    def _search(self, statistics: Statistics, sample: Tensor) -> tuple[Tensor, Tensor]:
        """The percentile whose use as scale, with its base, has the least squared error, and that error."""
        sample, bases = sample.flatten(), self._bases
        if len(bases) > 1:
            sample = sample[:: -(-len(sample) // SEARCHED)].contiguous()
        scales = [positive(statistics.range(p)[1][0]).to(sample.device) for p in PERCENTILES]
        tried = range(0, len(bases), COARSE)
        errors = [(self._errors(sample, scale, [bases[i] for i in tried]), scale) for scale in scales]
        least, scale = min(errors, key=lambda pair: min(pair[0]))
        best = tried[least.index(min(least))]
        near = bases[max(best - COARSE + 1, 0) : best + COARSE]
        least = self._errors(sample, scale, near) if len(near) > 1 else least
        self.base = near[least.index(min(least))]
        return scale, min(least) / sample.numel()

    def _errors(self, sample: Tensor, scale: Tensor, bases: Sequence[float]) -> list[Tensor]:
        """The summed squared error with each base."""
        errors = [torch.zeros_like(scale) for _ in bases]
        for x in sample.split(PIECE):
            logarithm = torch.div(x, scale).log2_()
            room = torch.empty_like(x)
            for error, base in zip(errors, bases, strict=True):
                exponents = self._codes_(torch.mul(logarithm, 1 / log2(base), out=room))
                error += self._powers_(exponents, scale, base).sub_(x).square_().sum()
        return errors

    def _simulated(self, x: Tensor, scale: Tensor | float, out: Tensor) -> Tensor:
        """Code and value in one go, into ``out``."""
        return self._powers_(self._exponents_(torch.div(x, scale, out=out)), scale, self.base)

    def _exponents_(self, ratio: Tensor) -> Tensor:
        """In place: x/s → minus the code, a whole number in −2^b .. 0 of which the lowest stands for zero."""
        return self._codes_(ratio.log2_().mul_(1 / log2(self.base)))

    def _codes_(self, exponents: Tensor) -> Tensor:
        return exponents.round_().clamp_(-(2.0**self.bits), 0.0)

    def _powers_(self, exponents: Tensor, scale: Tensor | float, base: float) -> Tensor:
        """In place: minus the code → value."""
        functional.threshold_(exponents, -(2.0**self.bits), float("-inf"))  # 2^−∞ is exactly 0
        return exponents.mul_(log2(base)).exp2_().mul_(scale)

    def _simulator(self) -> Callable[[Tensor, Tensor], Tensor]:
        (scale,) = plain(self.scale)
        return lambda source, target: self._simulated(source, scale, target)

    def _differentiator(self) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Straight through to the input, but not above the largest power; to the scale with codes held fixed.

        Straight-through inside the logarithm would give NaN at 0, and the scale nothing to learn from.
        """
        largest = self.scale.item()

        def differentiate(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            drawn = dot(simulated, gradient)
            passing(gradient, x, float("-inf"), largest, out=simulated)
            return drawn

        return differentiate

    def encode(self, x: Tensor) -> Tensor:
        return self._exponents_(x / self.scale).neg_().int()

    def decode(self, codes: Tensor) -> Tensor:
        return self._powers_(-codes.float(), self.scale, self.base)

    def levels(self) -> Tensor:
        return self.decode(torch.arange(2**self.bits + 1, device=self.scale.device)).flip(0)


def positive(scale: Tensor) -> Tensor:
    """A scale that can divide: 1 where the data were all zero."""
    return torch.where(scale > 0, scale, torch.ones_like(scale))
