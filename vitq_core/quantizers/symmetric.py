"""Symmetric uniform quantizer (PTQ4ViT, arXiv 2111.12293): code k of −h..h−1 stands for scale · k."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.options import optional, whole
from .base import QUANTIZERS, Quantizer
from .judges import Judge
from .kernels import scaled as kernels
from .row_groups import MOST_GROUPS, RowGroups
from .statistics import Statistics


@QUANTIZERS.register("symmetric")
class Symmetric(RowGroups):
    """``S_Δ(x) = Δ·clamp(⌊x/Δ⌉, −h, h − 1)`` with ``h = 2^(b−1)``.

    One Δ for the tensor, for each index of ``axis`` (rows, heads), or for each of ``groups`` parts of the
    rows. Its own fit takes the Δ with the least squared error of PTQ4ViT's candidates and the one that cuts
    nothing off; passes that search rank :meth:`candidates` by what they do to the layer's output.
    """

    PARAMETERS = ("scale",)
    WHOLE = ()
    SETTINGS = {
        **Quantizer.SETTINGS, "axis": optional(whole(-4, 3)), "groups": whole(1, MOST_GROUPS),
    }  # fmt: skip

    def __init__(self, bits: int, groups: int = 1, axis: int | None = None) -> None:
        super().__init__(bits, groups, axis)

    @property
    def half(self) -> int:
        """h."""
        return 2 ** (self.bits - 1)

    @property
    def zero_point(self) -> Tensor:
        """Codes are counted from 0."""
        return torch.tensor(float(self.half), device=None if self.scale is None else self.scale.device)

    def set_parameters(self, scale: Tensor, zero_point: Tensor | None = None) -> None:
        """``zero_point`` is always h."""
        self.scale = scale

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        low, high = (end.to(statistics.device) for end in statistics.range())
        start = kernels.start(torch.maximum(low.abs(), high.abs()), self.half)
        statistics.thin(kernels.SEARCHED)
        scale, error = kernels.least_error(statistics.sample, start, self.half, self.rounded)
        scale = statistics.unflatten(scale)
        self.scale = self._by_row(scale.squeeze(1), self._rows) if self.groups > 1 else scale
        self._note_error(statistics.sample, error)

    def candidates(self, low: Tensor, high: Tensor, factors: Tensor) -> dict[str, Tensor]:
        start = kernels.start(torch.maximum(low.abs(), high.abs()), self.half)
        return {"scale": factors[:, None] * start}

    def rounded(self, x: Tensor, scale: Tensor) -> Tensor:
        return (x / scale).round_().clamp_(-self.half, self.half - 1).mul_(scale)
