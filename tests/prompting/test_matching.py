"""Masks of two models are paired so that the sum of their IoUs is the largest possible."""

from itertools import permutations

import numpy as np
import pytest

from vitq_core.common.masks import iou
from vitq_core.prompting.matching import Match, matched
from vitq_core.prompting.rle import RunLengths


def bar(start: int, end: int) -> np.ndarray:
    mask = np.zeros((3, 40), bool)
    mask[:, start:end] = True
    return mask


def test_masks_find_each_other_in_any_order() -> None:
    first, second = [bar(0, 10), bar(20, 30), bar(35, 40)], [bar(21, 30), bar(0, 9)]
    assert matched(first, second) == [Match(0, 1, 0.9), Match(1, 0, 0.9)]
    runs = [list(map(RunLengths.of, masks)) for masks in (first, second)]
    assert matched(*runs) == matched(first, second)
    assert matched(first, []) == matched([], second) == []


def test_only_half_and_more_counts() -> None:
    assert matched([bar(0, 10)], [bar(0, 5)]) == [Match(0, 0, 0.5)]
    assert matched([bar(0, 11)], [bar(0, 5)]) == []
    assert matched([bar(0, 11)], [bar(0, 5)], least=0.4) == [Match(0, 0, 5 / 11)]
    assert matched([bar(0, 3)], [bar(5, 9)], least=0) == []
    with pytest.raises(ValueError, match="least"):
        matched([], [], least=2)


def test_no_pairing_has_a_larger_sum() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        first, second = ([bar(*sorted(rng.integers(0, 40, 2))) for _ in range(5)] for _ in range(2))
        table = np.array([[iou(a, b) for b in second] for a in first])
        table[table < 0.5] = 0
        best = max(sum(table[i, j] for i, j in enumerate(order)) for order in permutations(range(5)))
        found = matched(first, second)
        assert np.isclose(sum(match.iou for match in found), best)
        assert len({match.first for match in found}) == len({match.second for match in found}) == len(found)
