"""Specks and holes: small pieces of a mask, and of what is around it, that nobody means."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.ndimage import label


def cleaned(mask: ndarray, least: float) -> ndarray:
    """`mask`, bool [H, W], with holes of less than `least` pixels filled, then pieces of less taken away.

    Afterwards there are neither, and doing it again changes nothing: what is taken away joins what was around
    it. Pixels hang together by their sides, not their corners, so the same holds where corners count too.
    """
    filled = ~_without_small(~mask, least)
    return _without_small(filled, least)


def _without_small(mask: ndarray, least: float) -> ndarray:
    numbers, _ = label(mask)
    small = np.bincount(numbers.ravel()) < least
    small[0] = True  # what is not in the mask
    return ~small[numbers]


def largest_piece(mask: ndarray) -> int:
    """Its pixels; 0 for an empty mask."""
    return int(np.bincount(label(mask)[0].ravel())[1:].max(initial=0))
