"""Twin uniform quantizer for post-GELU activations (PTQ4ViT, arXiv 2111.12293): half of the codes for what is
below 0, which GELU keeps small, half for what is above."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.checks import check_choice
from ..common.options import check_given, one_of, option
from .base import QUANTIZERS, Quantizer
from .judges import Judge
from .kernels import scaled as kernels
from .kernels.gradients import Differentiate
from .statistics import Statistics

LEAST = 0.16997124254703522  # −min of GELU
SCALES = ("free", "power_of_two")


def checked_scales(name: str, value: object) -> object:
    """None or one of ``SCALES``."""
    check_choice(name, value, (None, *SCALES))
    return value


@dataclass(frozen=True)
class TwinGeluOptions:
    """Of the quantizer."""

    # how the two scales belong together; None: the recipe's
    scales: str | None = option(
        None, "Scales after GELU", checked_scales, name="gelu_scales",
        choices={"free": "free", "a power of two apart": "power_of_two"}, short="GELU scales",
        hint="Hardware can shift between scales that are a power of two apart; free ones fit better.",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_given(self)


@QUANTIZERS.register("twin_gelu")
class TwinGelu(Quantizer):
    """``x̂ = Δ₊·clamp(⌊x/Δ₊⌉, 0, h − 1) + Δ₋·clamp(⌊x/Δ₋⌉, −h, 0)`` with ``h = 2^(b−1)``; one of both is 0.

    ``Δ₋ = 0.16997…/h`` is fixed, Δ₊ is fitted. ``scales``: ``"free"`` as the published code, or
    ``"power_of_two"``: ``Δ₊ = 2^m·Δ₋`` as in the paper.
    """

    Options = TwinGeluOptions
    SETTINGS = {**Quantizer.SETTINGS, "scales": one_of(SCALES)}

    def __init__(self, bits: int, scales: str = "free") -> None:
        super().__init__(bits)
        self.scales = one_of(SCALES)("scales", scales)

    @property
    def half(self) -> int:
        """h."""
        return 2 ** (self.bits - 1)

    @property
    def negative_scale(self) -> float:
        """Δ₋."""
        return LEAST / self.half

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        high = statistics.range()[1].to(statistics.device).clamp_min(0)
        statistics.thin(kernels.SEARCHED)
        begin = kernels.start(high, self.half)
        scale, error = kernels.least_error(statistics.sample.clamp_min(0), begin, self.half, self.rounded)
        if self.scales == "power_of_two":
            scale = self._nearby_power(statistics.sample, scale)
        self.scale = scale[0]
        sample = statistics.sample
        error = (self.rounded(sample, self.scale) - sample).square_().mean(1)
        self._note_error(sample, error)

    def _nearby_power(self, sample: Tensor, scale: Tensor) -> Tensor:
        """Of the powers next to ``scale`` [1], the one with the least squared error."""
        below = 2.0 ** torch.log2(scale / self.negative_scale).floor()
        tried = self.negative_scale * torch.stack((below, 2 * below))
        errors = [(self.rounded(sample, each) - sample).square_().mean() for each in tried]
        return tried[int(errors[1] < errors[0])]

    def candidates(self, low: Tensor, high: Tensor, factors: Tensor) -> dict[str, Tensor]:
        start = kernels.start(high.clamp_min(0), self.half)
        if self.scales == "free":
            return {"scale": factors[:, None] * start}
        powers = torch.log2(factors[:, None] * start / self.negative_scale).round_()
        return {"scale": self.negative_scale * torch.exp2(powers)}

    def rounded(self, x: Tensor, scale: Tensor) -> Tensor:
        above = (x / scale).round_().clamp_(0, self.half - 1).mul_(scale)
        below = (x / self.negative_scale).round_().clamp_(-self.half, 0).mul_(self.negative_scale)
        return above.add_(below)

    def encode(self, x: Tensor) -> Tensor:
        """The codes below h are the negative ones."""
        above = (x / self.scale).round_().clamp_(0, self.half - 1)
        below = (x / self.negative_scale).round_().clamp_(-self.half, 0)
        return (above + below).add_(self.half).int()

    def decode(self, codes: Tensor) -> Tensor:
        numbers = codes.float() - self.half
        return torch.where(numbers > 0, numbers * self.scale, numbers * self.negative_scale)

    def levels(self) -> Tensor:
        return self.decode(torch.arange(2**self.bits, device=self.scale.device))

    def learned_parameters(self) -> tuple[str, ...]:
        """Δ₊, where it is free."""
        return ("scale",) if self.scales == "free" else ()

    def _differentiator(self) -> Differentiate:
        """LSQ above 0; below it nothing is learned, and clipped values pass no gradient on."""
        lowest = -(self.half + 0.5001) * self.negative_scale
        highest = (self.half - 0.4999) * self.scale

        def differentiate(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            inside = (x > lowest) & (x < highest)
            moved = (simulated - x * inside).masked_fill_(x <= 0, 0.0)
            drawn = (moved * gradient).sum()
            simulated.copy_(gradient * inside)
            return drawn

        return differentiate
