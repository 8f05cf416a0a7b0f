"""What models say of one object, made small enough to keep and to show, and how far two models agree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Told:
    """One answer. `masks` bool [C, h, w] as large as they are shown, `ious` [C] as the model believes."""

    masks: ndarray = field(repr=False)
    ious: tuple[float, ...]
    chosen: int

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
    return Told(answer.masks, tuple(map(float, answer.ious)), int(answer.chosen))


def iou(a: ndarray, b: ndarray) -> float:
    """Of two masks: what is in both, as a share of what is in either; 1 where both are empty."""
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0
