"""How rough pictures are, and how rough real ones would be (PSAQ-ViT, arXiv 2203.02250)."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

# Between these the published target is drawn, for 32 pictures of 224×224 pixels.
LEAST, MOST = 2500.0, 3000.0
PUBLISHED = 32 * 224 * 224


def total_variation(images: Tensor) -> Tensor:
    """Of ``images`` [B, C, H, W], all together: the sum of the norms of the differences between neighbours to
    the right, below and along both diagonals."""
    right = images[..., :, 1:] - images[..., :, :-1]
    below = images[..., 1:, :] - images[..., :-1, :]
    falling = images[..., 1:, 1:] - images[..., :-1, :-1]
    rising = images[..., 1:, :-1] - images[..., :-1, 1:]
    return sum(difference.norm() for difference in (right, below, falling, rising))


def variation_target(shape: torch.Size, generator: torch.Generator) -> float:
    """Drawn for images of ``shape`` [B, C, H, W]. A norm grows with the root of what is counted."""
    batch, _, height, width = shape
    drawn = LEAST + (MOST - LEAST) * float(torch.rand((), generator=generator))
    return drawn * sqrt(batch * height * width / PUBLISHED)
