"""A picture under a map of relevance."""

from __future__ import annotations

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

SIDE = 384  # pixels
# From nothing over orange to pale yellow: reads on any picture once that is grey.
WARM = np.array([[90, 10, 70], [190, 30, 60], [240, 110, 20], [255, 190, 50], [255, 250, 190]], dtype=float)
COLD = np.array([[20, 40, 110], [30, 90, 190], [60, 150, 230], [130, 200, 250], [220, 240, 255]], dtype=float)
STRONGEST = 0.995  # quantile that gets the full colour: single pixels would leave the rest dark


def as_picture(pixels: np.ndarray) -> Image.Image:
    """Of [H, W, 3] from 0 to 1."""
    return Image.fromarray((pixels * 255).round().astype(np.uint8))


def plain(picture: Tensor) -> np.ndarray:
    """[SIDE, SIDE·W/H, 3]: the picture [3, H, W] alone."""
    return _enlarged(picture, _size(picture), "bicubic").clamp(0, 1).permute(1, 2, 0).numpy()


def overlay(picture: Tensor, relevance: Tensor, kind: str) -> np.ndarray:
    """The picture [3, H, W] in grey under ``relevance``: [h, w] for "patches", [H, W] for "pixels".

    Every map is scaled by itself: colours say where a model looks, not how much it is moved. Blue speaks
    against the answer.
    """
    size = _size(picture)
    grey = plain(picture).mean(2, keepdims=True) * 0.75
    mode = "bilinear" if kind == "patches" else "nearest"
    values = _enlarged(_scaled(relevance)[None], size, mode)[0].numpy()
    strength = np.abs(values)[..., None]
    colour = np.where(values[..., None] >= 0, _ramp(WARM, strength), _ramp(COLD, strength))
    alpha = 0.9 * strength**0.6
    return np.clip(grey * (1 - alpha) + colour * alpha, 0, 1)


def _scaled(relevance: Tensor) -> Tensor:
    """From -1 to 1. Attention to every patch alike is nothing to see: maps above 0 start at their least."""
    lowest = relevance.min()
    values = relevance - lowest if lowest >= 0 else relevance
    return (values / values.abs().flatten().quantile(STRONGEST).clamp_min(1e-12)).clamp(-1, 1)


def _ramp(colours: np.ndarray, strength: np.ndarray) -> np.ndarray:
    steps = np.linspace(0, 1, len(colours))
    return np.concatenate([np.interp(strength, steps, colours[:, c] / 255) for c in range(3)], axis=-1)


def _size(picture: Tensor) -> tuple[int, int]:
    height, width = picture.shape[1:]
    return SIDE, round(SIDE * width / height)


def _enlarged(values: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    smooth = {} if mode == "nearest" else {"align_corners": False}
    return interpolate(values[None].float(), size=size, mode=mode, **smooth)[0]
