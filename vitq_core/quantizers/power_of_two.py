"""Power-of-two factor for what LayerNorm reads (PTF of FQ-ViT, arXiv 2111.13824): channels share a zero
point, their scales are 1/8, 1/4, 1/2 or 1 times one scale, so that their integers add up after a shift."""

from __future__ import annotations

import torch

from ..common.options import whole
from .affine import Affine
from .base import QUANTIZERS
from .judges import Judge
from .kernels.uniform import scale_and_zero_point, squared_errors
from .statistics import Statistics

FACTORS = 4  # α of 0 to 3: the scale is 2^(α − 3) of the largest
CHANNELS = -1


@QUANTIZERS.register("power_of_two")
class PowerOfTwo(Affine):
    """``x̂ = s_c · (clamp(⌊x/s_c + z⌉, 0, 2^b − 1) − z)`` with ``s_c = s·2^(α_c − 3)`` of a channel.

    Channels are the last axis. s and z are those of the extremes of all channels; α_c has the least squared
    error on the last batch, the least α of equals. A range that leaves out 0 is widened to hold it: the
    published zero point is cut there, and the largest values with it.
    """

    SETTINGS = {**Affine.SETTINGS, "axis": whole(CHANNELS, CHANNELS)}

    def __init__(self, bits: int) -> None:
        super().__init__(bits, axis=CHANNELS, range="minmax")

    @property
    def by_batch(self) -> bool:
        return True

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        low, high = (end.to(statistics.device) for end in statistics.range())
        low, high = low.min().clamp_max(0), high.max().clamp_min(0)
        scale, zero_point = scale_and_zero_point(low, high, self.bits)
        last = statistics.batches[-1][2] / scale  # in its steps: squares of huge values are infinite
        factors = 2.0 ** torch.arange(1 - FACTORS, 1, device=scale.device)[:, None].expand(-1, len(last))
        zero_points = zero_point.expand_as(factors)
        best = squared_errors(last, factors, zero_points, self.bits).argmin(0, keepdim=True)
        scale, zero_point = scale * factors.gather(0, best)[0], zero_points[0].clone()
        self.set_parameters(statistics.unflatten(scale), statistics.unflatten(zero_point))
        error = squared_errors(statistics.sample, scale[None], zero_point[None], self.bits)[0]
        self._note_error(statistics.sample, error)

    def learned_parameters(self) -> tuple[str, ...]:
        """None: learned scales would be no powers of two of each other."""
        return ()
