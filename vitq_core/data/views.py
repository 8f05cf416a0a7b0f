"""More pictures out of few: random parts of them, every second mirrored, as large as the pictures are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

LEAST = 0.4  # of a picture's area that a part shows; shares are spread evenly from there to all of it


def parts_of(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """[N, C, H, W]: of each picture a random part of the same proportions, at the picture's size."""
    return torch.stack([_part(picture, generator) for picture in pictures])


def _part(picture: Tensor, generator: torch.Generator) -> Tensor:
    area, down, across, mirrored = torch.rand(4, generator=generator).tolist()
    share, size = (LEAST + (1 - LEAST) * area) ** 0.5, picture.shape[1:]
    height, width = (max(1, round(share * whole)) for whole in size)
    top, left = round(down * (size[0] - height)), round(across * (size[1] - width))
    part = picture[None, :, top : top + height, left : left + width]
    part = functional.interpolate(part, size, mode="bicubic", antialias=True, align_corners=False)[0]
    return part.flip(-1) if mirrored < 0.5 else part
