"""What models say of one object, made small enough to keep and to show, and how far two models agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

SHOWN_SIDE = 800  # pixels of a mask on the page; the numbers are of the original's


@dataclass(frozen=True, eq=False)
class Told:
    """One answer. `masks` bool [C, h, w] as shown, `ious` [C] as the model believes, `pixels` of the mask."""

    masks: ndarray = field(repr=False)
    ious: tuple[float, ...]
    chosen: int
    pixels: int

    @property
    def mask(self) -> ndarray:
        return self.masks[self.chosen]

    @property
    def iou(self) -> float:
        """Predicted, of the chosen candidate."""
        return self.ious[self.chosen]


@dataclass(frozen=True, eq=False)
class Compared:
    """Both models' answers about one object. `iou`: between what they chose; `ious`: candidate by candidate.

    Without a quantized model there is nothing to compare: None and none.
    """

    full: Told
    quantized: Told | None = None
    iou: float | None = None
    ious: tuple[float, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether they chose different candidates."""
        return self.quantized is not None and self.quantized.chosen != self.full.chosen

    @property
    def megabytes(self) -> float:
        return sum(told.masks.nbytes for told in (self.full, self.quantized) if told is not None) / 2**20


def compared(full: Any, quantized: Any = None) -> Compared:
    """Of two `vq.Answer`s of the same prompt."""
    if quantized is None:
        return Compared(told(full))
    ious = tuple(iou(a, b) for a, b in zip(full.masks, quantized.masks, strict=True))
    return Compared(told(full), told(quantized), iou(full.mask, quantized.mask), ious)


def told(answer: Any) -> Told:
    masks = np.stack([smaller(mask) for mask in answer.masks])
    return Told(masks, tuple(map(float, answer.ious)), int(answer.chosen), int(answer.mask.sum()))


def iou(a: ndarray, b: ndarray) -> float:
    """Of two masks: what is in both, as a share of what is in either; 1 where both are empty."""
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0


def smaller(mask: ndarray) -> ndarray:
    """A mask, bool [H, W], no larger than it is shown: a pixel is in it where half of it was."""
    height, width = mask.shape
    factor = SHOWN_SIDE / max(height, width)
    if factor >= 1:
        return mask
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    grey = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return np.asarray(grey) >= 128
