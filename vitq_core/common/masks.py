"""Masks of objects, bool [H, W]: what is inside most, the box around, how much of two is the same."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.ndimage import distance_transform_edt


def innermost(mask: ndarray) -> tuple[float, float]:
    """(x, y) of the pixel of `mask` that is farthest from everything else, the picture's edge included.

    Raises IndexError for an empty mask, as :func:`tight_box` does.
    """
    left, top, right, bottom = map(int, tight_box(mask))  # outside, there is nothing that could be nearer
    inside = distance_transform_edt(np.pad(mask[top:bottom, left:right], 1))[1:-1, 1:-1]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return float(left + x), float(top + y)


def tight_box(mask: ndarray) -> tuple[float, float, float, float]:
    """(x0, y0, x1, y1) around `mask`; x1 and y1 are just outside. Raises IndexError for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def iou(mask: ndarray, other: ndarray) -> float:
    """Intersection over union; 1 for two empty ones."""
    union = np.count_nonzero(mask | other)
    return np.count_nonzero(mask & other) / union if union else 1.0
