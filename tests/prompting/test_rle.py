"""Run lengths are COCO's, in both of its forms, and compare as the masks do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tests.nasty import VALUES, named, sentence
from vitq_core.common.masks import iou
from vitq_core.prompting.rle import RunLengths, compressed, decompressed

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def one_by_one(mask: np.ndarray) -> list[int]:
    """The naive twin: a pixel at a time, down each column."""
    counts, inside = [0], False
    for pixel in (mask[y, x] for x in range(mask.shape[1]) for y in range(mask.shape[0])):
        if pixel != inside:
            counts.append(0)
            inside = not inside
        counts[-1] += 1
    return counts


def pair(shape: tuple[int, int]) -> st.SearchStrategy:
    return st.tuples(arrays(bool, shape), arrays(bool, shape))


@given(MASKS)
def test_a_mask_comes_back(mask: np.ndarray) -> None:
    runs = RunLengths.of(mask)
    assert runs.counts.tolist() == one_by_one(mask)
    assert np.array_equal(runs.mask(), mask) and runs.mask().dtype == bool
    assert runs.area == mask.sum()
    for stored in (runs.as_coco(), {"size": list(mask.shape), "counts": runs.counts.tolist()}):
        again = RunLengths.from_coco(stored)
        assert again.size == mask.shape and np.array_equal(again.mask(), mask)


@given(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(pair))
def test_run_lengths_overlap_as_the_masks_do(masks: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = map(RunLengths.of, masks)
    assert first.iou(second) == second.iou(first) == iou(*masks)


@given(st.lists(st.integers(0, 2**31), max_size=20))
def test_any_counts_are_written_and_read(counts: list[int]) -> None:
    text = compressed(np.array(counts, np.int64))
    assert decompressed(text).tolist() == decompressed(text.encode()).tolist() == counts
    assert all("0" <= letter <= "o" for letter in text)


def test_the_text_is_cocos() -> None:
    """Written by COCO's own tools."""
    small = np.zeros((5, 7), bool)
    small[1:4, 2:5] = small[4, 6] = True
    y, x = np.mgrid[:90, :120]
    disc = (x - 60) ** 2 + (y - 40) ** 2 < 900
    text = (
        "Wh2?X26J6L2M4M2M4M2N2N2N2O0O2N2O0O2N2O000O2O000O2O0000000000000000000000000001N10001N10001N2N101N"
        "2N101N2N2N2N3L3N3L3N4J6J^c2"
    )
    assert RunLengths.of(small).as_coco() == {"size": [5, 7], "counts": ";320008N"}
    assert RunLengths.of(disc).as_coco() == {"size": [90, 120], "counts": text}
    assert np.array_equal(RunLengths.from_coco({"size": [90, 120], "counts": text.encode()}).mask(), disc)


def test_runs_of_nothing_between_others_are_read() -> None:
    runs = RunLengths.from_coco({"size": [2, 3], "counts": [1, 0, 2, 1, 0, 2]})
    assert runs.mask().T.ravel().tolist() == [False] * 3 + [True] * 3
    assert runs.iou(RunLengths.of(runs.mask())) == 1


@pytest.mark.parametrize(
    ("stored", "fault"),
    [
        ({"size": [2, 3], "counts": [1, 2]}, "3 pixels, its size is 2×3"),
        ({"size": [2, 3], "counts": "06"}, None),
        ({"size": [2, 3], "counts": "07"}, "7 pixels"),
        ({"size": [2, 3], "counts": [-1, 7]}, "whole numbers"),
        ({"size": [2, 3], "counts": [1.5, 4.5]}, "whole numbers"),
        ({"size": [2, 3], "counts": [2**70]}, "whole numbers"),
        ({"size": [2, 3], "counts": "O7"}, "less than 0"),
        ({"size": [2, 3], "counts": "6\x7f"}, "no text"),
        ({"size": [2, 3], "counts": "6é"}, "no text"),
        ({"size": [2, 3], "counts": "6" + "P" * 9}, "no text"),
        ({"size": [2, 3], "counts": "6P"}, "break off"),
        ({"size": [2], "counts": [2]}, "its size must be"),
        ({"size": [0, 3], "counts": [0]}, "its size must be"),
        ({"size": [2**20, 2**20], "counts": [2**40]}, "its size must be"),
        ({"size": [2, 3]}, "needs size and counts"),
    ],
)
def test_a_damaged_one_is_a_sentence(stored: dict, fault: str | None) -> None:
    if fault is None:
        assert RunLengths.from_coco(stored).area == 6
        return
    with pytest.raises(ValueError, match=fault) as caught:
        RunLengths.from_coco(stored)
    sentence(caught.value)


@pytest.mark.parametrize("value", **named(VALUES))
def test_what_is_none_at_all_is_a_sentence(value: object) -> None:
    for stored in (value, {"size": value, "counts": "06"}, {"size": [2, 3], "counts": value}):
        with pytest.raises(ValueError) as caught:
            RunLengths.from_coco(stored)
        sentence(caught.value)


def test_masks_of_two_sizes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        RunLengths.of(np.ones((2, 3), bool)).iou(RunLengths.of(np.ones((3, 2), bool)))
