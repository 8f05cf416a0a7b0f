"""Windows of a map, and which of their positions may not look at each other (Swin, arXiv 2103.14030, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCKED = -100.0  # added to the scores of positions that are no neighbours, as published


def partitioned(x: Tensor, window: tuple[int, int]) -> Tensor:
    """[B, windows, positions, C] of a map ``x`` [B, H, W, C], which whole windows divide."""
    batch, height, width, channels = x.shape
    rows, columns = window
    x = x.reshape(batch, height // rows, rows, width // columns, columns, channels).transpose(2, 3)
    return x.reshape(batch, -1, rows * columns, channels)


def merged(windows: Tensor, window: tuple[int, int], height: int, width: int) -> Tensor:
    """The map [B, height, width, C] of which :func:`partitioned` gives ``windows``."""
    rows, columns = window
    batch = windows.shape[0]  # not len(), which would tie an exported graph to one number of pictures
    x = windows.reshape(batch, height // rows, width // columns, rows, columns, windows.shape[-1])
    return x.transpose(2, 3).reshape(batch, height, width, -1)


def shift_mask(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, int], like: Tensor
) -> Tensor:
    """[windows, 1, positions, positions], to be added to scores: 0, and ``BLOCKED`` between positions of one
    window that stand together only because the map was rolled by ``shift``. Of type and device of ``like``.
    """
    lengths = (height, width)
    # Rolled in from the other end: the last rows and columns, which share the last windows with others.
    below, beside = (
        torch.arange(length, device=like.device) >= length - steps
        for length, steps in zip(lengths, shift, strict=True)
    )
    regions = (2 * below[:, None] + beside)[None, :, :, None]
    regions = partitioned(regions, window)[0, :, None, :, 0]
    apart = regions[..., None] != regions[..., None, :]
    return torch.zeros_like(apart, dtype=like.dtype).masked_fill(apart, BLOCKED)
