"""What a unit's output should be close to, and how its attention maps should look."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def output_loss(output: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """``‖O − Ô‖²``, summed over dimension 1, mean over the rest (as ADFQ-ViT's code has it).

    ``weights``: of the elements, as many as there are or fewer, to be multiplied with.
    """
    positions = target.numel() / target.shape[1]
    if weights is None:
        return functional.mse_loss(output, target, reduction="sum") / positions
    return ((output - target).square() * weights).sum() / positions


def output_error(output: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[float, float]:
    """(‖O − Ô‖², ‖O‖²), summed over everything, each square times its weight."""
    squares = ((output - target).square(), target.square())
    error, signal = squares if weights is None else (weights * each for each in squares)
    return float(error.sum()), float(signal.sum())


def tempered(maps: Tensor, temperature: float) -> Tensor:
    """``log softmax(A/T)`` of attention maps A [B, heads, N, N], which are themselves after softmax."""
    return torch.log_softmax(maps / temperature, -1)


def attention_loss(maps: Tensor, target: Tensor, temperature: float) -> Tensor:
    """``KL(softmax(A/T) ‖ softmax(Â/T))``, summed, per picture; ``maps``: Â; ``target``: A, tempered."""
    return _TemperedKL.apply(maps, target, temperature)


class _TemperedKL(torch.autograd.Function):
    """The gradient is written out: (softmax(Â/T) − softmax(A/T)) / (T·B), a third of autograd's passes."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, target: Tensor, temperature: float) -> Tensor:
        ours, shares = tempered(maps, temperature), target.exp()
        divergence = torch.dot(shares.flatten(), (target - ours).flatten()) / len(maps)
        ctx.save_for_backward(ours.exp_().sub_(shares))
        ctx.divisor = temperature * len(maps)
        return divergence

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (difference,) = ctx.saved_tensors
        return difference * (upstream / ctx.divisor), None, None
