"""LayerNorm of whole numbers (FQ-ViT, arXiv 2111.13824, section 3.2): sums, shifts and one multiplication."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..quantizers import Quantizer

MOST_SHIFT, MOST_FACTOR, FACTOR_BITS = 31, 255, 7  # of a multiplier M·2^−E with M of eight bits


def integer_layer_norm(
    x: Tensor, scales: Tensor, target: Tensor, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    """``x`` [..., D] on the grid of ``scales`` [D], powers of two of each other; what comes out is on the
    grid of the single scale ``target``. ``weight``, ``bias``: the norm's own [D], None: 1 and 0.

    There is no ε: of a token whose channels are all alike the bias comes out.
    """
    scale = scales.min()
    whole = (x / scales).round() * (scales / scale).round()
    channels = x.shape[-1]
    total = whole.sum(-1, keepdim=True)
    mean = scale * total / channels
    spread = channels * whole.square().sum(-1, keepdim=True) - total.square()
    deviation = scale / channels * spread.clamp_min(0).sqrt()
    gain = torch.where(deviation > 0, (1.0 if weight is None else weight) / deviation, 0.0)
    factor = scale * gain / target
    shift = 2.0 ** (FACTOR_BITS - factor.abs().log2().floor()).clamp(0, MOST_SHIFT)
    multiplier = (factor.abs() * shift).floor().clamp(0, MOST_FACTOR)
    offset = ((0.0 if bias is None else bias) - mean * gain) / target
    return target * ((factor.sign() * multiplier * whole + (offset * shift).round()) / shift).round()


@dataclass(frozen=True)
class Grids:
    """The quantizers before and behind a norm; the scales of the first stand ``repeats`` times in a row."""

    source: Quantizer
    target: Quantizer
    repeats: int = 1


def compute_with_integers(norm: nn.LayerNorm, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """Forward hook: the integer norm in place of ``output``, once the quantizers around it are fitted. Its
    gradient is that of the norm in floating point."""
    grids: Grids = norm.grids
    if not (grids.source.fitted and grids.target.fitted):
        return output
    scales = grids.source.scale.flatten().expand(output.shape[-1] // grids.repeats).repeat(grids.repeats)
    with torch.no_grad():
        whole = integer_layer_norm(
            inputs[0].float(), scales, grids.target.scale.flatten()[0], norm.weight, norm.bias
        )
    return output + (whole - output).detach() if torch.is_grad_enabled() else whole
