"""Scenes turned, mirrored, scaled and recoloured, so that a model sees more than was drawn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .scene_maps import NOTHING

ZOOM = (0.6, 1.4)
GREY, SOFT = 0.1, 0.15  # shares of the pictures that lose their colours, or are blurred


def augmented(
    images: Tensor, owners: Tensor, size: int, mean: Tensor, std: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Normalized pictures [B, 3, size, size] and owners [B, size, size], moved alike, of uint8 pictures
    0..255 [B, 3, S, S]; where size < S, parts of them.

    What lies outside the scene is 0, as where a Sam fills up a picture that is no square, and nobody's.
    """
    moves = _moves(len(images), images.shape[-1] / size, generator)
    grid = functional.affine_grid(moves, [*images.shape[:2], size, size], align_corners=False)
    pictures = (_recoloured(images.float() / 255, generator) * 255 - mean) / std
    moved = functional.grid_sample(pictures, grid, align_corners=False)
    numbers = (owners[:, None] - NOTHING).float()  # 0: nobody's
    numbers = functional.grid_sample(numbers, grid, mode="nearest", align_corners=False)[:, 0]
    return moved, numbers.round().to(torch.int8) + NOTHING


def _moves(count: int, larger: float, generator: torch.Generator) -> Tensor:
    """[count, 2, 3]: by quarters of a turn, mirrored or not, `larger` times as large, more or less, about a
    place where as much as possible stays in the picture."""
    low, high = (torch.tensor(bound).log() for bound in ZOOM)
    zoom = larger * (low + (high - low) * torch.rand(count, generator=generator)).exp()
    quarter = torch.randint(4, (count,), generator=generator) * torch.pi / 2
    mirrored = 1 - 2.0 * torch.randint(2, (count,), generator=generator)
    cos, sin = quarter.cos().round(), quarter.sin().round()
    turn = torch.stack((torch.stack((cos * mirrored, -sin), 1), torch.stack((sin * mirrored, cos), 1)), 1)
    room = (1 - 1 / zoom).abs()[:, None] * (2 * torch.rand(count, 2, generator=generator) - 1)
    return torch.cat((turn / zoom[:, None, None], room[:, :, None]), 2)


def _recoloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Other contrast, brightness and saturation; some without colours, some blurred. In 0..1 and back."""

    def each(low: float, high: float, channels: int = 1) -> Tensor:
        return low + (high - low) * torch.rand(len(images), channels, 1, 1, generator=generator)

    grey = images.mean(1, keepdim=True)
    saturation = torch.where(each(0, 1) < GREY, torch.zeros(()), each(0.5, 1.4))
    images = grey + (images - grey) * saturation
    images = (images - 0.5) * each(0.6, 1.3) + 0.5 + each(-0.15, 0.15) + each(-0.06, 0.06, 3)
    soft = functional.avg_pool2d(functional.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return torch.where(each(0, 1) < SOFT, soft, images).clamp(0, 1)
