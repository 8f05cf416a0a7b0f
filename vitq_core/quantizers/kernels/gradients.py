"""The gradients of a quantizer: straight through, or those of a scale that is being learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# (x, simulated, gradient) → the gradient of x, then of each learned parameter
Gradients = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]
# (x, simulated, gradient) → the gradient of the scale times the scale; that of x is written over simulated
Differentiate = Callable[[Tensor, Tensor, Tensor], Tensor]


class StraightThrough(torch.autograd.Function):
    """Forward the simulated value, backward as if nothing were rounded (rounding has gradient zero)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, simulated: Tensor) -> Tensor:
        return simulated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class Learned(torch.autograd.Function):
    """Forward the simulated value, backward to the input and to the parameters that are being learned."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, simulate: Callable[[Tensor], Tensor], gradients: Gradients, *learned: Tensor
    ) -> Tensor:
        simulated = simulate(x)
        ctx.save_for_backward(x, simulated)
        ctx.gradients = gradients
        return simulated

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_x, *to_learned = ctx.gradients(*ctx.saved_tensors, gradient.contiguous())
        return to_x, None, None, *to_learned


def zero_outside(values: Tensor, x: Tensor, low: float, high: float, out: Tensor) -> Tensor:
    """``values`` where low < x < high, else 0, into ``out``: one pass, where a mask would take three."""
    return torch.ops.aten.hardtanh_backward.grad_input(values, x, low, high, grad_input=out)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b."""
    return torch.dot(a.reshape(-1), b.reshape(-1))
