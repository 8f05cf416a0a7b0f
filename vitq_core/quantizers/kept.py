"""A tensor that a recipe leaves in floating point: it has no codes, and takes part as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.errors import VitqError
from .base import Quantizer
from .judges import Judge

KEPT = "kept"  # what a recipe's rule calls it
FLOAT_BITS = 32.0


class Kept(Quantizer):
    """``bits``: those that the tensor's layer has elsewhere; a value takes 32. It has no codes: not one of
    the registry's quantizers."""

    PARAMETERS = ()

    @property
    def fitted(self) -> bool:
        return True

    @property
    def effective_bits(self) -> float:
        return FLOAT_BITS

    def observe(self, x: Tensor, share: float = 1.0) -> None:
        """There is nothing to fit."""

    def finish(self, judge: Judge | None = None) -> None:
        """There is nothing to fit."""

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        return x

    def simulate(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        return x if out is None else out.copy_(x)

    def encode(self, x: Tensor) -> Tensor:
        raise VitqError("a tensor that stays in floating point has no codes")

    def decode(self, codes: Tensor) -> Tensor:
        raise VitqError("a tensor that stays in floating point has no codes")

    def levels(self) -> Tensor:
        """None of its own."""
        return torch.empty(0)
