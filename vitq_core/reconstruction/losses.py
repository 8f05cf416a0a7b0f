"""What a unit's output should be close to, and how its attention maps should look."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def output_loss(output: Tensor, wanted: Tensor, weights: Tensor | None = None) -> Tensor:
    """``‖O − Ô‖²``, summed over dimension 1, mean over the rest (as ADFQ-ViT's code has it).

    ``weights``: of the elements of one output, of mean 1.
    """
    positions = wanted.numel() / wanted.shape[1]
    if weights is None:
        return functional.mse_loss(output, wanted, reduction="sum") / positions
    return ((output - wanted).square() * weights).sum() / positions


def output_error(output: Tensor, wanted: Tensor) -> tuple[float, float]:
    """(‖O − Ô‖², ‖O‖²), summed over everything."""
    return float((output - wanted).square().sum()), float(wanted.square().sum())


def tempered(maps: Tensor, temperature: float) -> Tensor:
    """``log softmax(A/T)`` of attention maps A [B, heads, N, N], which are themselves after softmax."""
    return torch.log_softmax(maps / temperature, -1)


def attention_loss(maps: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """``KL(softmax(A/T) ‖ softmax(Â/T))``, summed, per picture; ``maps``: Â; ``wanted``: A, tempered."""
    return _TemperedKL.apply(maps, wanted, temperature)


class _TemperedKL(torch.autograd.Function):
    """The gradient is written out: (softmax(Â/T) − softmax(A/T)) / (T·B), a third of autograd's passes."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, wanted: Tensor, temperature: float) -> Tensor:
        ours, shares = tempered(maps, temperature), wanted.exp()
        divergence = torch.dot(shares.flatten(), (wanted - ours).flatten()) / len(maps)
        ctx.save_for_backward(ours.exp_().sub_(shares))
        ctx.divisor = temperature * len(maps)
        return divergence

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (difference,) = ctx.saved_tensors
        return difference * (upstream / ctx.divisor), None, None
