"""Specks and small holes go; what hangs together is counted as a naive flood does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vitq_core.prompting.regions import cleaned, largest_piece

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=10))
SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
CORNERS = (*SIDES, (1, 1), (1, -1), (-1, 1), (-1, -1))


def pieces(mask: np.ndarray, neighbours: tuple) -> list[set[tuple[int, int]]]:
    """The naive twin: water poured on one pixel after the other."""
    dry, found = {tuple(place) for place in np.argwhere(mask).tolist()}, []
    while dry:
        wet, edge = set(), [dry.pop()]
        while edge:
            y, x = edge.pop()
            wet.add((y, x))
            around = {(y + dy, x + dx) for dy, dx in neighbours} & dry
            dry -= around
            edge += around
        found.append(wet)
    return found


@given(MASKS, st.integers(1, 12))
def test_no_piece_and_no_hole_is_smaller_whether_corners_count_or_not(mask: np.ndarray, least: int) -> None:
    after = cleaned(mask, least)
    for neighbours in (SIDES, CORNERS):
        for each in (after, ~after):
            sizes = [len(piece) for piece in pieces(each, neighbours)]
            assert not sizes or len(sizes) == 1 or min(sizes) >= least
    assert not after.any() or min(map(len, pieces(after, SIDES))) >= least or after.all()
    assert np.array_equal(cleaned(after, least), after) or after.all()


@given(MASKS)
def test_what_is_large_enough_stays_as_it_is(mask: np.ndarray) -> None:
    assert np.array_equal(cleaned(mask, 1), mask)
    assert largest_piece(mask) == max(map(len, pieces(mask, SIDES)), default=0)


def test_holes_are_filled_before_pieces_are_judged() -> None:
    ring = np.zeros((9, 9), bool)
    ring[2:5, 2:5] = True
    ring[3, 3] = False
    ring[7, 7] = True
    expected = np.zeros((9, 9), bool)
    expected[2:5, 2:5] = True
    assert np.array_equal(cleaned(ring, 9), expected)
    assert not cleaned(ring, 10).any()
