"""How a quantizer's fitted parameters are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..common.checks import is_number

STORED_TYPES = (torch.float32, torch.uint8, torch.int16)


def compact(values: Tensor) -> Tensor:
    """``values`` in uint8 or int16 where that loses nothing (zero points), else as they are."""
    for dtype in (torch.uint8, torch.int16):
        limits = torch.iinfo(dtype)
        if values.min() >= limits.min and values.max() <= limits.max and torch.equal(values.round(), values):
            return values.to(dtype)
    return values.contiguous()


def fits(values: Tensor, shape: Sequence[int]) -> bool:
    """Whether ``values`` broadcast against a tensor of ``shape``, and leave its shape as it is."""
    ends = zip(reversed(values.shape), reversed(shape), strict=False)
    return values.ndim <= len(shape) and all(own in (1, size) for own, size in ends)


def number(name: str, value: Any) -> float:
    """NaN and infinite ones too: of a tensor of zeros there is no ratio of signal to noise."""
    if not is_number(value):
        raise ValueError(f"{name} must be a number, got {value!r:.80}")
    return value
