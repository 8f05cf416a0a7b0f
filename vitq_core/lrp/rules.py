"""The relevance rules, each an autograd Function whose backward hands relevance on instead of a gradient.

Layer-wise relevance propagation as in transformer attribution (Chefer, Gur, Wolf, arXiv 2012.09838) and
LRP-QViT (arXiv 2401.11243), but per sample: every sum runs over one picture, so a batch is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.nn.grad import conv2d_input

EPSILON = 1e-9
PIECE = 2**20  # values worked on at a time: fresh memory for all of them costs more than the arithmetic
CANCELLED = 1e-3  # share of |x||W|ᵀ below which a difference of two products has lost too many digits


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

    ``Z = x⁺(W⁺)ᵀ + x⁻(W⁻)ᵀ``, ``S = R/Z``, ``R_in = x⁺⊙(S W⁺) + x⁻⊙(S W⁻)``. ``apply``'s last argument is
    the layer's output where it is known.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, y: Tensor | None = None) -> Tensor:
        y = F.linear(x, weight, bias) if y is None else y.view_as(y)
        ctx.save_for_backward(x, weight, bias, y)
        return y

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        saved, weight, bias, y = ctx.saved_tensors
        x, y, relevance = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (saved, y, relevance))
        positive, negative = weight.clamp(min=0), weight.clamp(max=0)
        relevance_in = x.new_empty(x.shape)
        pieces = (part.split(max(1, PIECE // max(weight.shape))) for part in (x, y, relevance, relevance_in))
        for x, y, relevance, out in zip(*pieces, strict=True):
            z = _same_sign_products(x, weight, bias, y if bias is None else y - bias)
            # Z is never negative; where it is 0, so is every product below
            share = torch.div(relevance, z.add_(EPSILON), out=z)
            torch.mm(share, positive, out=out).mul_(x.clamp(min=0))
            out.addcmul_(share @ negative, x.clamp(max=0))
        return relevance_in.reshape(saved.shape), None, None, None


def _same_sign_products(x: Tensor, weight: Tensor, bias: Tensor | None, product: Tensor) -> Tensor:
    """``x⁺(W⁺)ᵀ + x⁻(W⁻)ᵀ`` as ``½(x Wᵀ + |x||W|ᵀ)``: one matrix product, as ``product`` = x Wᵀ is known.

    Where that nearly cancels, rounding (also of the ``bias`` taken off) would show: then both products are
    worked out.
    """
    whole = x.abs() @ weight.abs().T
    z = torch.lerp(whole, product, 0.5)
    size = whole if bias is None else whole.add_(bias.abs())
    if float(torch.sub(z, size, alpha=CANCELLED).amin()) < 0:
        positive, negative = x.clamp(min=0), x.clamp(max=0)
        return torch.addmm(positive @ weight.clamp(min=0).T, negative, weight.clamp(max=0).T)
    return z


class Convolution(Function):
    """The α=1 rule for a convolution that reads features: the linear rule's formulas with ``∗``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
        """``geometry``: stride, padding, dilation and groups."""
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        relevance_in = _convolved(x.clamp(min=0), x.clamp(max=0), weight, relevance, ctx.geometry)
        return relevance_in, None, None, *(None for _ in ctx.geometry)


class TransposedConvolution(Function):
    """The α=1 rule for a transposed convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
        """``geometry``: stride, padding, output padding, groups and dilation."""
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        return F.conv_transpose2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        stride, padding, _, groups, dilation = ctx.geometry
        parts = ((x.clamp(min=0), weight.clamp(min=0)), (x.clamp(max=0), weight.clamp(max=0)))
        z = sum(F.conv_transpose2d(part, w, None, *ctx.geometry) for part, w in parts)
        share = safe_divide(relevance, z)
        found = sum(part * F.conv2d(share, w, None, stride, padding, dilation, groups) for part, w in parts)
        return found, None, None, *(None for _ in ctx.geometry)


class Pixels(Convolution):
    """The z^B rule for the patch embedding, with each picture's least and greatest value as bounds l, h.

    ``Z = W∗x − W⁺∗l − W⁻∗h`` (bias ignored), ``R_in = x⊙(Wᵀ∗S) − l⊙(W⁺ᵀ∗S) − h⊙(W⁻ᵀ∗S)``: as W = W⁺ + W⁻,
    these are ``W⁺∗(x − l) + W⁻∗(x − h)`` and ``(x − l)⊙(W⁺ᵀ∗S) + (x − h)⊙(W⁻ᵀ∗S)``.
    """

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
        relevance_in = _convolved(x - low, x - high, weight, relevance, ctx.geometry)
        return relevance_in, None, None, *(None for _ in ctx.geometry)


def _convolved(
    positive: Tensor, negative: Tensor, weight: Tensor, relevance: Tensor, geometry: tuple
) -> Tensor:
    """Relevance of an input whose ``positive`` part meets W⁺ and whose ``negative`` part meets W⁻."""
    parts = ((positive, weight.clamp(min=0)), (negative, weight.clamp(max=0)))
    z = sum(F.conv2d(part, w, None, *geometry) for part, w in parts)
    share = safe_divide(relevance, z)
    return sum(part * _transposed(part.shape, w, share, *geometry) for part, w in parts)


def _transposed(
    shape: torch.Size, weight: Tensor, share: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """``Wᵀ∗S`` of input ``shape``; by one matrix product where torch's own is ten times slower."""
    if groups != 1:
        return conv2d_input(shape, weight, share, stride, padding, dilation, groups)
    columns = weight.flatten(1).T @ share.flatten(2)
    return F.fold(columns, shape[2:], weight.shape[2:], dilation, padding, stride)


class MatMul(Function):
    """``Z = A B``: half of the relevance for each operand, ``R_A = ½·A⊙(S Bᵀ)``, ``R_B = ½·B⊙(Aᵀ S)``.

    ``apply``'s last argument is Z where it is known.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, z: Tensor | None = None) -> Tensor:
        z = a @ b if z is None else z.view_as(z)
        ctx.save_for_backward(a, b, z)
        return z

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple:
        *operands, z = ctx.saved_tensors
        a, b = (operand.expand(*z.shape[:-2], *operand.shape[-2:]) for operand in operands)
        found = a.new_empty(a.shape), b.new_empty(b.shape)
        pieces = _along_the_batch(a, b, z, relevance, *found)
        for a, b, z, relevance, to_a, to_b in pieces:
            share = safe_divide(relevance, without_rounding(a, b, z)).mul_(0.5)
            torch.matmul(share, b.transpose(-2, -1), out=to_a).mul_(a)
            torch.matmul(a.transpose(-2, -1), share, out=to_b).mul_(b)
        return *map(sum_to, found, operands), None


def _along_the_batch(*matrices: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """``matrices`` [B, …, rows, columns] cut alike into pieces of bounded size; whole without B."""
    if matrices[0].ndim == 2:
        return (matrices,)
    largest = max(matrix.numel() for matrix in matrices)
    pictures = max(1, PIECE * len(matrices[0]) // max(1, largest))
    return zip(*(matrix.split(pictures) for matrix in matrices), strict=True)


def without_rounding(a: Tensor, b: Tensor, z: Tensor) -> Tensor:
    """``Z = A B`` with 0 where it is no more than what rounding leaves of products that cancel.

    Those of quantized operands often cancel exactly: dividing by the 1e-8 that is left would drown the rest.
    """
    rows, columns = a.norm(dim=-1, keepdim=True), b.norm(dim=-2, keepdim=True)
    rounding = rows * (columns * (torch.finfo(z.dtype).eps * a.shape[-1] ** 0.5))
    return z.masked_fill(z.abs() <= rounding, 0.0)


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
        products = [operand * share for operand in (a, c)]
        sums = [_per_picture(part) for part in products]
        whole, total = sums[0].abs() + sums[1].abs(), _per_picture(relevance)
        parts = [safe_divide(safe_divide(own.abs(), whole) * total, own) for own in sums]
        return tuple(
            sum_to(part.mul_(factor), operand)
            for part, factor, operand in zip(products, parts, (a, c), strict=True)
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
