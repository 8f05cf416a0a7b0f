"""The integer program of modules against trying every table."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitq_core.allocation.budget import least_harm

WIDTHS = (-1, 0, 1)
NUMBERS = st.lists(st.integers(1, 50), min_size=3, max_size=3)


@given(st.lists(st.tuples(NUMBERS, st.integers(1, 9)), min_size=1, max_size=4), st.integers(0, 9))
def test_it_is_the_least_of_all_tables(parts: list, extra: int) -> None:
    harms = {str(i): dict(zip(WIDTHS, each, strict=True)) for i, (each, _) in enumerate(parts)}
    sizes = {str(i): {step: params * (4 + step) for step in WIDTHS} for i, (_, params) in enumerate(parts)}
    room = sum(each[-1] for each in sizes.values()) + extra
    found = least_harm(harms, sizes, room)
    assert sum(sizes[name][step] for name, step in found.items()) <= room
    tables = [dict(zip(harms, steps, strict=True)) for steps in product(WIDTHS, repeat=len(harms))]
    fitting = [t for t in tables if sum(sizes[name][step] for name, step in t.items()) <= room]
    least = min(sum(harms[name][step] for name, step in t.items()) for t in fitting)
    assert sum(harms[name][step] for name, step in found.items()) == least


def test_a_room_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="a room of 3 is too small: the fewest bits take 4"):
        least_harm({"a": {0: 1.0}}, {"a": {0: 4}}, 3)
