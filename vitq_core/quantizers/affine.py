"""Uniform affine quantizer that adds the zero point before it rounds, as FQ-ViT's and PSAQ-ViT's code do."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import QUANTIZERS
from .kernels import uniform as kernels
from .uniform import Uniform


@QUANTIZERS.register("affine")
class Affine(Uniform):
    """``x̂ = s · (clamp(⌊x/s + z⌉, 0, 2^b − 1) − z)``, with the ranges of ``uniform``.

    It differs from that one where x lies in the middle between two codes: an odd z turns round-half-to-even
    around, and tensors that are sums of rounded ones lie there often enough to be seen in the answers.
    """

    def __init__(self, bits: int, axis: int | None = None, range: str = "minmax") -> None:
        super().__init__(bits, axis, range)

    def encode(self, x: Tensor) -> Tensor:
        return (x / self.scale + self.zero_point).round_().clamp_(0, 2**self.bits - 1).int()

    def decode(self, codes: Tensor) -> Tensor:
        return (codes - self.zero_point) * self.scale

    def levels(self) -> Tensor:
        codes = torch.arange(2**self.bits, device=self.scale.device)
        return (codes - self.zero_point.reshape(-1)[0]) * self.scale.reshape(-1)[0]

    def affine(self) -> tuple[Tensor, Tensor] | None:
        """None: QuantizeLinear rounds first."""
        return None

    def _simulator(self) -> kernels.Simulate:
        return kernels.shifted_simulator(self.scale, self.zero_point, self.bits)
