"""The relevance rules, each an autograd Function whose backward hands relevance on instead of a gradient.

Layer-wise relevance propagation as in transformer attribution (Chefer, Gur, Wolf, arXiv 2012.09838) and
LRP-QViT (arXiv 2401.11243), but per sample: every sum runs over one picture, so a batch is right.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.nn.grad import conv2d_input

EPSILON = 1e-9


def safe_divide(a: Tensor, b: Tensor) -> Tensor:
    """``a / b`` with ``b`` moved 1e-9 away from 0, and 0 where ``b`` is 0. Broadcasts."""
    moved = torch.copysign(b.new_tensor(EPSILON), b).add_(b)
    return torch.div(a, moved).mul_(b != 0)


def sum_to(relevance: Tensor, operand: Tensor) -> Tensor:
    """Undo broadcasting: an operand that was used many times gets the sum."""
    return relevance if relevance.shape == operand.shape else relevance.sum_to_size(operand.shape)


class Identity(Function):
    """LayerNorm, GELU, softmax, dropout, scaling by a constant: relevance passes as it is.

    ``apply(x, y)`` gives ``y``, what ``x`` became, of the same shape.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        return relevance, None


class Linear(Function):
    """The α=1 rule, bias ignored: positive contributions share the relevance in proportion.

    ``Z = x⁺(W⁺)ᵀ + x⁻(W⁻)ᵀ``, ``S = R/Z``, ``R_in = x⁺⊙(S W⁺) + x⁻⊙(S W⁻)``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        saved, weight = ctx.saved_tensors
        x, relevance = saved.reshape(-1, saved.shape[-1]), relevance.reshape(-1, weight.shape[0])
        positive, negative = x.clamp(min=0), x.clamp(max=0)
        up, down = weight.clamp(min=0), weight.clamp(max=0)
        z = torch.addmm(positive @ up.T, negative, down.T)
        share = relevance / z.add_(EPSILON)  # Z is never negative; where it is 0, so is every product below
        given = positive.mul_(share @ up).addcmul_(negative, share @ down)
        return given.reshape(saved.shape), None, None


class Convolution(Function):
    """The α=1 rule for a convolution that reads features."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        parts = [(x.clamp(min=0), weight.clamp(min=0)), (x.clamp(max=0), weight.clamp(max=0))]
        z = sum(F.conv2d(part, w, None, *ctx.geometry) for part, w in parts)
        share = safe_divide(relevance, z)
        given = sum(part * conv2d_input(x.shape, w, share, *ctx.geometry) for part, w in parts)
        return given, None, None, *(None for _ in ctx.geometry)


class Pixels(Function):
    """The z^B rule for the patch embedding, with each picture's least and greatest value as bounds l, h.

    ``Z = W∗x − W⁺∗l − W⁻∗h`` (bias ignored), ``R_in = x⊙(Wᵀ∗S) − l⊙(W⁺ᵀ∗S) − h⊙(W⁻ᵀ∗S)``.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        low, high = (end.expand_as(x) for end in (x.amin((1, 2, 3), True), x.amax((1, 2, 3), True)))
        parts = [(x, weight), (-low, weight.clamp(min=0)), (-high, weight.clamp(max=0))]
        z = sum(F.conv2d(part, w, None, *ctx.geometry) for part, w in parts)
        share = safe_divide(relevance, z)
        given = sum(part * conv2d_input(x.shape, w, share, *ctx.geometry) for part, w in parts)
        return given, None, None, *(None for _ in ctx.geometry)


class MatMul(Function):
    """``Z = A B``: half of the relevance for each operand, ``R_A = ½·A⊙(S Bᵀ)``, ``R_B = ½·B⊙(Aᵀ S)``."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        z = a @ b
        ctx.save_for_backward(a, b, z)
        return z

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        a, b, z = ctx.saved_tensors
        share = safe_divide(relevance, z).mul_(0.5)
        given_a = (share @ b.transpose(-2, -1)).mul_(a) if ctx.needs_input_grad[0] else None
        given_b = (a.transpose(-2, -1) @ share).mul_(b) if ctx.needs_input_grad[1] else None
        return tuple(
            given if given is None else sum_to(given, operand)
            for given, operand in ((given_a, a), (given_b, b))
        )


class Add(Function):
    """``Z = a + c``: ``r_a = a⊙R/Z``, ``r_c = c⊙R/Z``, rescaled per picture to their parts of the total.

    The parts are ``|Σr_a|/(|Σr_a|+|Σr_c|)·ΣR`` and ``|Σr_c|/(|Σr_a|+|Σr_c|)·ΣR``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(a, c)
        return a + c

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        a, c = ctx.saved_tensors
        share = safe_divide(relevance, a + c)
        given = [operand * share for operand in (a, c)]
        sums = [_per_picture(part) for part in given]
        whole, total = sums[0].abs() + sums[1].abs(), _per_picture(relevance)
        parts = [safe_divide(safe_divide(own.abs(), whole) * total, own) for own in sums]
        return tuple(
            sum_to(part.mul_(factor), operand)
            for part, factor, operand in zip(given, parts, (a, c), strict=True)
        )


class Product(Function):
    """Elementwise ``a·c`` of two activations (gates): half of the relevance for each, as for a matmul."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(a, c)
        return a * c

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        return tuple(sum_to(0.5 * relevance, operand) for operand in ctx.saved_tensors)


class Mean(Function):
    """Pooling by the Taylor rule ``x ⊙ (∂Z/∂x · R/Z)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: Any, keepdim: bool) -> Tensor:
        z = x.mean(dim, keepdim=True)
        ctx.save_for_backward(x, z)
        return z if keepdim else x.mean(dim)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, z = ctx.saved_tensors
        share = safe_divide(relevance.reshape(z.shape), z)
        return x * share * (z.numel() / x.numel()), None, None


def _per_picture(values: Tensor) -> Tensor:
    """The sum over everything but the first axis, which stays."""
    return values.sum(dim=tuple(range(1, values.ndim)), keepdim=True)
