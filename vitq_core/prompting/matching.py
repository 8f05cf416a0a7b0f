"""Which masks of one model are which of another's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from ..common.checks import check_share
from .rle import RunLengths

LEAST = 0.5  # IoU from which on two masks are taken to mean the same


@dataclass(frozen=True)
class Match:
    """Mask number `first` of the one set and `second` of the other."""

    first: int
    second: int
    iou: float


def matched(
    masks_a: Iterable[ndarray | RunLengths], masks_b: Iterable[ndarray | RunLengths], least: float = LEAST
) -> list[Match]:
    """Pairs with an IoU of `least` or more, each mask in one at most, with the largest possible sum of IoUs.

    `masks_a`, `masks_b`: bool [H, W] or run lengths, all of one size. In the order of the first set.
    """
    check_share("least", least)
    first, second = ([_runs(mask) for mask in masks] for masks in (masks_a, masks_b))
    table = np.array([[a.iou(b) for b in second] for a in first]).reshape(len(first), len(second))
    table[table < least] = 0  # of what does not count, no pair may be given up
    rows, columns = linear_sum_assignment(table, maximize=True)
    found = zip(rows.tolist(), columns.tolist(), table[rows, columns].tolist(), strict=True)
    return [Match(*each) for each in found if each[2] >= least and each[2] > 0]


def _runs(mask: ndarray | RunLengths) -> RunLengths:
    return mask if isinstance(mask, RunLengths) else RunLengths.of(np.asarray(mask, bool))
