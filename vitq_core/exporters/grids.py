"""A quantizer's values as integers that a runtime can multiply: scale · (code − zero point)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.errors import VitqError
from ..common.words import counted
from ..quantizers.base import Quantizer


@dataclass(frozen=True)
class Grid:
    """Codes 0..2^bits − 1 stand for ``scale · (code − zero_point)``; both broadcast against the tensor.

    ``zero_point`` is a code itself, which a fitted one need not be: see ``widened`` and ``rounded``.
    """

    scale: Tensor
    zero_point: Tensor
    bits: int
    widened: bool = False  # the range left out 0
    rounded: bool = False  # the zero point lay between two codes

    @property
    def top(self) -> Tensor:
        """The greatest value, shaped as ``scale``."""
        return self.scale * (2**self.bits - 1 - self.zero_point)

    def codes(self, x: Tensor) -> Tensor:
        """Whole numbers as floats, shaped as ``x``."""
        return (x / self.scale).round_().add_(self.zero_point).clamp_(0, 2**self.bits - 1)


def grid_of(quantizer: Quantizer) -> Grid:
    """Of a fitted quantizer that is ``on_grid``. A zero point between two codes is rounded, which moves the
    ends of the range by at most half a step; a range that leaves out 0 is widened to hold it."""
    scale, zero_point = quantizer.scale.detach(), quantizer.zero_point.detach()
    scale, zero_point = torch.broadcast_tensors(scale, zero_point)
    codes = 2**quantizer.bits - 1
    whole = zero_point.round()
    outside = (whole < 0) | (whole > codes)
    if not outside.any():
        return Grid(scale, whole, quantizer.bits, rounded=not torch.equal(whole, zero_point))
    low, high = (-zero_point * scale).clamp(max=0), ((codes - zero_point) * scale).clamp(min=0)
    wide = (high - low) / codes
    return Grid(
        torch.where(outside, wide, scale),
        torch.where(outside, (-low / wide).round(), whole),
        quantizer.bits,
        widened=True,
    )


def changes(grids: Iterable[Grid]) -> list[str]:
    """What was changed so that runtimes can multiply the codes, in sentences."""
    grids = list(grids)
    widened, rounded = (sum(getattr(grid, name) for grid in grids) for name in ("widened", "rounded"))
    said = []
    if widened:
        said.append(f"{counted(widened, 'range')} that left out 0 had to be widened to hold it.")
    if rounded:
        said.append(f"{counted(rounded, 'zero point')} between two codes had to be rounded to one.")
    return said


def axis_of(scale: Tensor, dimensions: int) -> int | None:
    """Along which axis of a tensor of so many ``dimensions`` the scales differ; None for a single one.
    Raises VitqError where there are several axes: no runtime has a name for that."""
    axes = [index for index, size in enumerate(scale.shape) if size > 1]
    if len(axes) > 1:
        raise VitqError(
            f"scales of shape {list(scale.shape)} differ along {len(axes)} axes; one can be exported"
        )
    return dimensions - scale.ndim + axes[0] if axes else None
