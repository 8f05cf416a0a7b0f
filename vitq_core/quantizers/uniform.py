"""Uniform affine quantizer: code q stands for scale · (q − zero_point); per tensor, channel or weight row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..common.options import one_of, optional, whole
from .base import QUANTIZERS, Quantizer
from .judges import Judge
from .kernels import uniform as kernels
from .statistics import Statistics


@QUANTIZERS.register("uniform")
class Uniform(Quantizer):
    """``x̂ = s · (clamp(⌊x/s⌉ + z, 0, 2^b − 1) − z)``.

    ``axis``: the axis with one (s, z) per index; None: one for the tensor. ``range``: ``"percentile"``
    searches the quantiles 0.999, 0.9999, 0.99999 for the least squared error (RepQ-ViT, arXiv 2212.08254),
    ``"minmax"`` takes the extremes, ``"least_error"`` the extremes times the factor in 0.2..1 with the least
    squared error of the tensor, or where its layer is there, those or the quantiles, whichever makes the
    least squared error of the layer's output. ``"tails"`` takes the extremes or one of the quantiles by the
    same error: where the channels of one token are cut off together, their errors add up at the output, which
    an error of single channels does not know, so it must not cut off much.

    PTQ4SAM's (arXiv 2405.03144): ``"mean"``: the least and the greatest value of a batch, in the mean over
    the batches, and 0; ``"power"``: the ends with the least ``Σ|x̂ − x|^2.4``, each on its own;
    ``"mean_power"``: those of a batch, in the mean over the batches.

    FQ-ViT's (arXiv 2111.13824): ``"signed"``: codes −h..h − 1 around 0, for weights; ``"ema"`` and
    ``"running_percentile"``: means that each batch's ends move by a hundredth; ``"last_batch"``: the extremes
    times the factor in 0.11..1 with the least squared error of the last batch.

    A reparameterized site may have a fractional zero point (the mean over channels, as published): the clamp
    then cuts between codes, and the codes number 2^b + 1.
    """

    on_grid = True
    PARAMETERS = ("scale", "zero_point")
    WHOLE = ("zero_point",)
    SETTINGS = {
        **Quantizer.SETTINGS, "axis": optional(whole(-4, 3)), "range": one_of(kernels.RANGES),
    }  # fmt: skip

    def __init__(self, bits: int, axis: int | None = None, range: str = "percentile") -> None:
        super().__init__(bits)
        self.axis = self.SETTINGS["axis"]("axis", axis)
        self.range = one_of(kernels.RANGES)("range", range)

    def _axes(self, x: Tensor) -> tuple[int, ...]:
        return () if self.axis is None else (self.axis,)

    @property
    def by_batch(self) -> bool:
        return self.range in kernels.BY_BATCH

    @property
    def judged(self) -> bool:
        return self.range in kernels.JUDGED

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        scale, zero_point, error = kernels.search(statistics, self.bits, self.range, judge)
        self.set_parameters(statistics.unflatten(scale), statistics.unflatten(zero_point))
        self._note_error(statistics.sample, error)

    def set_parameters(self, scale: Tensor, zero_point: Tensor) -> None:
        """Use these, in a shape that broadcasts against the tensor to be quantized."""
        self.scale, self.zero_point = scale, zero_point

    def candidates(self, low: Tensor, high: Tensor, factors: Tensor) -> dict[str, Tensor] | None:
        """Extremes times factors, as APQ-ViT (arXiv 2303.14341); a range of another kind fits itself."""
        if self.range != "minmax":
            return None
        scale, zero_point = kernels.scaled_extremes(low, high, factors, self.bits)
        return {"scale": scale, "zero_point": zero_point}

    def rounded(self, x: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
        steps = (x / scale).round_().add_(zero_point).clamp_(0, 2**self.bits - 1)
        return steps.sub_(zero_point).mul_(scale)

    def limits(self) -> tuple[Tensor, Tensor]:
        """The clamp of ⌊x/s⌉: −z and 2^b − 1 − z."""
        return -self.zero_point, 2**self.bits - 1 - self.zero_point

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

    @property
    def grouped(self) -> bool:
        return True

    def _ends(self) -> Sequence[Tensor]:
        return [limit * self.scale for limit in self.limits()]

    def affine(self) -> tuple[Tensor, Tensor] | None:
        whole = torch.equal(self.zero_point.round(), self.zero_point)
        return (self.scale, self.zero_point) if whole else None

    def learned_parameters(self) -> tuple[str, ...]:
        return ("scale",)

    def _simulator(self) -> kernels.Simulate:
        return kernels.simulator(self.scale, self.zero_point, self.bits)

    def _differentiator(self) -> kernels.Differentiate:
        return kernels.differentiator(self.scale, self.zero_point, self.bits)
