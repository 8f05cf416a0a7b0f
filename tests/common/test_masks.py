"""The most interior pixel, the box around, and how much of two masks is the same."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from vitq_core.common.masks import innermost, iou, tight_box


def test_the_innermost_pixel_is_that_of_the_whole_picture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        mask = np.zeros((40, 50), bool)
        for _ in range(3):
            y, x = rng.integers(0, 35), rng.integers(0, 45)
            mask[y : y + rng.integers(1, 15), x : x + rng.integers(1, 15)] = True
        inside = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        x, y = innermost(mask)
        assert mask[int(y), int(x)] and inside[int(y), int(x)] == inside.max()


def test_the_edge_of_the_picture_is_outside() -> None:
    assert innermost(np.ones((9, 5), bool))[0] == 2
    assert innermost(np.ones((1, 1), bool)) == (0, 0)


def test_the_box_ends_just_outside() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3] = mask[7, 6] = True
    assert tight_box(mask) == (3, 2, 7, 8)
    for function in (tight_box, innermost):
        with pytest.raises(IndexError):
            function(np.zeros((4, 4), bool))


def test_the_iou_of_two_masks() -> None:
    one, two = np.zeros((2, 4, 4), bool)
    assert iou(one, two) == 1
    one[:2], two[1:3] = True, True
    assert iou(one, two) == 4 / 12
    assert iou(one, ~one) == 0
