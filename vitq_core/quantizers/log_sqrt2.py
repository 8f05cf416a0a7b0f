"""Log-√2 quantizer for post-softmax attention (RepQ-ViT, arXiv 2212.08254): code k is scale · 2^(−k/2)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch
from torch import Tensor

from ..common.checks import check_number
from ..common.options import check_given, option
from .base import QUANTIZERS, Quantizer
from .judges import Judge, Weighted
from .kernels import logarithmic as kernels
from .statistics import Statistics
from .storage import number

# From one octave a code to 32 codes an octave: fine enough near 1 for 8 bits.
STEPS = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
BASE_CHOICES = {"√2": "sqrt2", "2": 2.0, "fitted": "fitted"}
UNIT, JOINT, HUGE = "unit", "joint", 1e12
RANGES = ("percentile", "least_error", JOINT, UNIT)
BASES = tuple(2.0 ** (1 / steps) for steps in STEPS)


def checked_base(name: str, value: object) -> float | str | None:
    """None, ``"fitted"``, or a number above 1; ``"sqrt2"`` is one."""
    if not isinstance(value, str):  # an array's == is no yes or no
        check_number(name, value, above=1.0, below=16.0)
    elif value == "sqrt2":
        return 2.0**0.5
    elif value != "fitted":
        check_number(name, value, above=1.0, below=16.0)
    return value


def stored_base(name: str, value: object) -> float:
    """A number above 1: what a fitted base became."""
    check_number(name, number(name, value), above=1.0, below=16.0)
    return value


@dataclass(frozen=True)
class LogOptions:
    """Of every logarithmic quantizer."""

    # base of the codes; None: the recipe's
    base: float | str | None = option(
        None, "Base of the log codes", checked_base, name="log_base", choices=BASE_CHOICES, short="log base",
        hint="With a fixed base more bits only add ever smaller values; a fitted one follows the data.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


@QUANTIZERS.register("log_sqrt2")
class LogSqrt2(Quantizer):
    """``q = ⌊−log_base(x/s)⌉`` clamped at 0 from below; ``q ≥ 2^b`` stands for exactly 0.

    For ``x ≥ 0``. ``base``: √2 unless given. The zero takes one code more than the 2^b powers. With a fixed
    base more bits only add ever smaller values: signal to noise stays near 20 dB from 4 bits on. ``"fitted"``
    takes the base with the least squared error, each with its best scale (after AdaLog, arXiv 2407.12951).
    ``range``: ``"percentile"``: the scale is one of RepQ-ViT's quantiles; ``"least_error"``: the largest
    value or a part of it, with the least squared error of the layer's output, or of the tensor where it is
    fitted without a layer; ``"joint"``: the same error, but scale and base are refined together, as AdaLog's
    progressive combining search does; ``"unit"``: the scale is 1, as an attention map's powers of two have it
    (FQ-ViT).
    """

    Options = LogOptions
    SETTINGS = {**Quantizer.SETTINGS, "base": stored_base}

    def __init__(self, bits: int, base: float | str = 2.0**0.5, range: str = "percentile") -> None:
        super().__init__(bits)
        if range not in RANGES:
            raise ValueError(f"range must be one of {', '.join(RANGES)}, got {range!r}")
        self.range = range
        self._bases = BASES if base == "fitted" else (checked_base("base", base),)
        self.base = self._bases[0]

    @property
    def judged(self) -> bool:
        return self.range != "percentile"

    def _search(self, statistics: kernels.Quantiles, judge: Judge | None) -> tuple[Tensor, float, Tensor]:
        """(scale, base, mean squared error)."""
        if self.range == "joint":
            return kernels.joint(statistics, self._bases, self.bits, judge)
        return kernels.search(statistics, self._bases, self.bits, judge)

    def _ranks(self, statistics: Statistics, judge: Judge | None) -> Judge | None:
        """What ranks candidates; None: the percentiles' own search."""
        if not self.judged or judge is not None:
            return judge if self.judged else None
        sample = statistics.sample
        # Powers of huge errors are infinite in single precision, and all candidates alike.
        return Weighted(sample.double() if sample.max() > HUGE else sample, torch.ones(()))

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        if self.range == UNIT:
            self.scale = torch.ones((), device=statistics.device)
            return self._note_error(statistics.sample, self._error(statistics.sample))
        self.scale, self.base, error = self._search(statistics, self._ranks(statistics, judge))
        self._note_error(statistics.sample, error)

    def _error(self, sample: Tensor) -> Tensor:
        return (self.simulate(sample) - sample).square().mean()

    def encode(self, x: Tensor) -> Tensor:
        exponents = torch.log2(x / self.scale) * (1 / log2(self.base))
        return exponents.round_().neg_().clamp_(0, 2**self.bits).int()

    def decode(self, codes: Tensor) -> Tensor:
        powers = torch.exp2(-codes.float() * log2(self.base)) * self.scale
        return powers.masked_fill_(codes >= 2**self.bits, 0.0)

    def levels(self) -> Tensor:
        return self.decode(torch.arange(2**self.bits + 1, device=self.scale.device)).flip(0)

    def learned_parameters(self) -> tuple[str, ...]:
        return () if self.range == UNIT else ("scale",)

    def _simulator(self) -> kernels.Simulate:
        return kernels.simulator(self.scale, self.base, self.bits)

    def _differentiator(self) -> kernels.Differentiate:
        return kernels.differentiator(self.scale)
