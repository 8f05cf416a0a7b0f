"""How a quantizer's fitted parameters are stored."""

from __future__ import annotations

import torch
from torch import Tensor


def compact(values: Tensor) -> Tensor:
    """``values`` in uint8 or int16 where that loses nothing (zero points), else as they are."""
    for dtype in (torch.uint8, torch.int16):
        limits = torch.iinfo(dtype)
        if values.min() >= limits.min and values.max() <= limits.max and torch.equal(values.round(), values):
            return values.to(dtype)
    return values.contiguous()
