"""Small moves of all pictures, so that no pixel is made for one place alone (PSAQ-ViT, arXiv 2203.02250)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Move:
    """Down and to the right by ``shift`` pixels, around the edges; then mirrored, where it is ``flipped``."""

    shift: int
    flipped: bool

    def __call__(self, images: Tensor) -> Tensor:
        """``images`` [B, C, H, W], moved; gradients pass through."""
        moved = images.roll((self.shift, self.shift), (-2, -1))
        return moved.flip(-1) if self.flipped else moved


def drawn_move(reach: int, generator: torch.Generator) -> Move:
    """By at most ``reach`` pixels either way, mirrored every second time."""
    shift = int(torch.randint(-reach, reach + 1, (), generator=generator))
    return Move(shift, bool(torch.rand((), generator=generator) < 0.5))
