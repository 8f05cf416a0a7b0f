"""Hybrid log-uniform codes for activations with a long tail (AHCPTQ, arXiv 2503.03088): small values by
powers of two, large ones evenly.

The published code sets large values to zero before it quantizes them, so that all of them become one; the
formulas here are the paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.options import whole
from .base import QUANTIZERS, Quantizer
from .judges import Judge, Weighted
from .kernels.gradients import Differentiate
from .statistics import Statistics

PARTS = (0.1, 0.3, 0.5)  # ρ: of the range, below which codes are powers of two
SHARES = (1 / 8, 1 / 4, 1 / 2)  # g: of the codes that are


@QUANTIZERS.register("hybrid_log")
class HybridLog(Quantizer):
    """``x' = x − m``. Up to s_log: ``q = ⌊−log2(x'/s_log)⌉`` of g·2^b codes, beyond them exactly 0. Above:
    ``q = ⌊(x' − s_log)/s_uni⌉`` of (1 − g)·2^b codes, ``x̂' = s_log + q·s_uni``.

    ``s_log = ρR`` and ``s_uni = R(1 − ρ)/((2^b − 1)(1 − g))`` for the range R; ρ and g are those with the
    least squared error of the layer's output, or of the tensor where it is fitted without a layer.
    """

    PARAMETERS = ("scale", "step", "minimum")
    POSITIVE = ("scale", "step")
    SETTINGS = {**Quantizer.SETTINGS, "powers": whole(1, 256)}

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.powers = 1  # how many codes are powers of two

    @property
    def judged(self) -> bool:
        return True

    def _solve(self, statistics: Statistics, judge: Judge | None = None) -> None:
        judge = judge or Weighted(statistics.sample, torch.ones(()))
        low, high = (end[0].to(statistics.device) for end in statistics.range())
        self.minimum, width = low, (high - low).clamp_min(torch.finfo(low.dtype).tiny)
        tried = [(part, share) for part in PARTS for share in SHARES]
        errors = [self._error(judge, width, *each) for each in tried]
        self._use(width, *tried[min(range(len(tried)), key=errors.__getitem__)])
        sample = statistics.sample
        self._note_error(sample, (self.simulate(sample) - sample).square().mean(1))

    def _error(self, judge: Judge, width: Tensor, part: float, share: float) -> float:
        self._use(width, part, share)
        return float(judge.errors(self.simulate(judge.sample) - judge.sample).sum())

    def _use(self, width: Tensor, part: float, share: float) -> None:
        self.powers = max(1, round(share * 2**self.bits))
        self.scale = part * width
        self.step = width * (1 - part) / ((2**self.bits - 1) * (1 - share))

    def encode(self, x: Tensor) -> Tensor:
        """0.. are the powers, then the even steps; 2^b is exactly the minimum."""
        above = (x - self.minimum).clamp_min_(0.0)
        power = torch.log2(above / self.scale).round_().neg_()
        power = torch.where(power < self.powers, power, torch.full_like(power, 2.0**self.bits))
        steps = ((above - self.scale) / self.step).round_()
        steps = steps.clamp_(0, 2**self.bits - 1 - self.powers).add_(self.powers)
        return torch.where(above <= self.scale, power.clamp_(0, 2**self.bits), steps).int()

    def decode(self, codes: Tensor) -> Tensor:
        numbers = codes.float()
        powers = torch.exp2(-numbers) * self.scale
        steps = (numbers - self.powers) * self.step + self.scale
        values = torch.where(codes < self.powers, powers, steps)
        return values.masked_fill_(codes >= 2**self.bits, 0.0).add_(self.minimum)

    def levels(self) -> Tensor:
        return self.decode(torch.arange(2**self.bits + 1, device=self.scale.device)).unique()

    def learned_parameters(self) -> tuple[str, ...]:
        """Where powers end and even steps begin."""
        return ("scale",)

    def _differentiator(self) -> Differentiate:
        """Straight through to the input but where it is cut off; to the scale with codes held fixed: even
        steps move with it where they are the last."""
        last = self.scale + (2**self.bits - 1 - self.powers) * self.step

        def differentiate(x: Tensor, simulated: Tensor, gradient: Tensor) -> Tensor:
            above = x - self.minimum
            cut = above > last + self.step / 2
            moved = torch.where(above <= self.scale, simulated - self.minimum, cut * self.scale)
            drawn = (moved * gradient).sum()
            simulated.copy_(gradient.masked_fill(cut | (above < 0), 0.0))
            return drawn

        return differentiate
