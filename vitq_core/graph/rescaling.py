"""Moving a factor between a LayerNorm's channels and the layers that read it: the same function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PADDING = "padding"  # a norm's buffer [C]: what stands for tokens that are missing behind it


def filled_up(x: Tensor, rows: int, columns: int, padding: Tensor) -> Tensor:
    """``x`` [B, H, W, C] made ``rows`` × ``columns`` large at its lower and right edge, with ``padding`` [C];
    itself where it is so already."""
    batch, height, width, channels = x.shape
    if columns > width:
        x = torch.cat((x, padding.expand(batch, height, columns - width, channels)), 2)
    if rows > height:
        x = torch.cat((x, padding.expand(batch, rows - height, columns, channels)), 1)
    return x


def rescale_norm(norm: nn.LayerNorm, divisor: Tensor, shift: Tensor) -> None:
    """``γ̃ = γ/r1``, ``β̃ = (β + shift)/r1``; a norm without bias gets one. What fills up windows behind it is
    rescaled alike."""
    norm.weight.div_(divisor)
    if hasattr(norm, PADDING):
        setattr(norm, PADDING, (getattr(norm, PADDING) + shift) / divisor)
    bias = torch.zeros_like(norm.weight) if norm.bias is None else norm.bias
    norm.bias = nn.Parameter((bias + shift) / divisor, requires_grad=False)


def rescale_linear(layer: nn.Module, weight: nn.Parameter, divisor: Tensor, shift: Tensor) -> None:
    """``b̃ = b − W shift``, ``W̃ = W · diag(r1)``; without bias it gets one. ``weight``: the float weight."""
    moved = weight @ shift
    bias = torch.zeros_like(moved) if layer.bias is None else layer.bias
    layer.bias = nn.Parameter(bias - moved, requires_grad=False)
    weight.mul_(divisor)
