"""Adaptive granularity for softmax outputs (PTQ4SAM, arXiv 2405.03144): τ codes to an octave, τ a power of 2.

Integer hardware shifts by q div τ and multiplies with one of τ constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from ..common.checks import check_choice
from ..common.options import check_given, option
from .base import QUANTIZERS
from .judges import Judge
from .kernels import logarithmic as kernels
from .log_sqrt2 import LogSqrt2
from .statistics import Statistics

TAUS = {"wide": (1, 2, 4, 8, 16, 32), "paper": (1, 2, 4)}
POWER = 2.4  # of the product's error, as published


def checked_taus(name: str, value: object) -> object:
    """None or one of ``TAUS``."""
    check_choice(name, value, (None, *TAUS))
    return value


@dataclass(frozen=True)
class GranularityOptions:
    """Of the quantizer."""

    # which τ are tried; None: the recipe's
    taus: str | None = option(
        None, "Codes to an octave", checked_taus, choices={"1, 2, 4": "paper", "to 32": "wide"}, short="τ",
        hint="More codes to an octave use more than six bits; the paper stops at 4.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


@QUANTIZERS.register("adaptive_granularity")
class AdaptiveGranularity(LogSqrt2):
    """``q = ⌊−τ·log2(x/s)⌉`` clamped at 0 from below, ``x̂ = s · 2^(−q/τ)``; ``q ≥ 2^b`` stands for exactly 0.

    τ and s are those with the least ``Σ|Â V − A V|^2.4`` of the layer's output, or of the tensor where it is
    fitted without a layer. ``taus``: ``"wide"`` tries τ up to 32, ``"paper"`` up to 4, where more than six
    bits buy nothing.
    """

    Options = GranularityOptions

    def __init__(self, bits: int, taus: str = "wide") -> None:
        super().__init__(bits, base=2.0, range="least_error")
        check_choice("taus", taus, tuple(TAUS))
        self._bases = tuple(2.0 ** (1 / tau) for tau in TAUS[taus])

    @property
    def tau(self) -> int:
        """Codes to an octave."""
        return round(1 / log2(self.base))

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        ranks = self._ranks(statistics, judge).raised(POWER)
        self.scale, self.base, error = kernels.finest(statistics, self._bases, self.bits, ranks)
        self._note_error(statistics.sample, error)
