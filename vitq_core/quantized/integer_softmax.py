"""Log-int-softmax (FQ-ViT, arXiv 2111.13824, section 3.3): whole numbers in, powers of two out.

The exponential is I-BERT's (arXiv 2101.01321): a power of two, by a shift, times a polynomial of integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph.ops import Softmax
from ..quantizers import Quantizer
from .recording import recording

LN2, A, B, C = 0.6931, 0.35815147, 0.96963238, 1.0  # e^r ≈ A·(r² + B/A·r + C/A) for r in (−ln 2, 0]
SHIFTS = 30  # e^k below 2^−30 is none
# Beyond it ⌊(C/A)/s²⌋ is 0, and so is the exponential of the largest score: 0 divided by 0.
LARGEST_SCALE = (C / A) ** 0.5


def integer_exponential(x: Tensor, scale: Tensor) -> Tensor:
    """``e^(x − max x)`` over the last axis as whole numbers with a common factor; ``x`` on a grid of the
    single ``scale``. In float32, which holds the leading 24 bits of each, as the published code has it."""
    steps = x / scale
    steps = steps - steps.amax(-1, keepdim=True)
    halving = (-LN2 / scale).floor()
    steps = torch.maximum(steps, SHIFTS * halving)
    shift = (steps / halving).floor()
    rest = steps - shift * halving
    value = rest * (rest + (B / A / scale).floor()) + (C / A / scale.square()).floor()
    return (value * 2.0 ** (SHIFTS - shift)).floor().clamp_min(0)


def log_int_softmax(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """The softmax over the last axis as powers ``2^(−v)``, v = 0..2^bits − 1, and 0 for what is smaller.

    ``scale``: of the scores' grid. Raises ValueError where it is above 1.671: the published method divides 0
    by 0 there, and gives NaN. That is what the 0.10 % of tables at W4/A4 are, where 15 steps span the scores.
    """
    check_scale(scale)
    exponentials = integer_exponential(x, scale)
    ratio = (exponentials.sum(-1, keepdim=True) / exponentials).round()
    exponent = ratio.log2().floor()
    exponent = exponent + (ratio - 2.0**exponent >= 2.0 ** (exponent - 1))
    return torch.where(exponent < 2**bits, 2.0**-exponent, 0.0)


def check_scale(scale: Tensor, of: str = "the scores") -> None:
    """Raises ValueError for one that the integer softmax cannot do with."""
    if scale.device.type == "meta" or recording():
        return  # it has no value then
    if float(scale) > LARGEST_SCALE:
        raise ValueError(
            f"{of} lie in steps of {float(scale):.3g}, and the integer softmax can do with steps of "
            f"{LARGEST_SCALE:.4g} at most: give activations more bits (from Python, lis=False "
            "keeps the softmax in floating point)"
        )


@dataclass(frozen=True)
class ScoreGrid:
    """The quantizers of the scores and of the attention map."""

    scores: Quantizer
    attention: Quantizer


class LogIntSoftmax(Softmax):
    """Takes the place of a rewritten model's softmax; in floating point until the scores have a scale. Its
    gradient is that of the softmax in floating point."""

    grid: ScoreGrid

    def forward(self, scores: Tensor) -> Tensor:
        if not self.grid.scores.fitted:
            return super().forward(scores)
        with torch.no_grad():
            whole = log_int_softmax(
                scores.float(), self.grid.scores.scale.reshape(()), self.grid.attention.bits
            )
        if not torch.is_grad_enabled():
            return whole
        output = super().forward(scores)
        return output + (whole - output).detach()
