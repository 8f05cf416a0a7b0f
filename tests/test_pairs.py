"""What `tests.pairs` leaves out of a product, and what it must not leave out."""

from collections import Counter
from itertools import combinations, product

import pytest

from tests.pairs import all_pairs, in_turn


@pytest.mark.parametrize("sizes", [(3, 4), (2, 3, 2), (4, 6, 3), (3, 3, 3, 2), (1, 5, 2)], ids=str)
def test_every_two_values_meet_in_few_rows(sizes: tuple[int, ...]) -> None:
    factors = [[f"{place}.{index}" for index in range(size)] for place, size in enumerate(sizes)]
    rows = all_pairs(*factors)
    assert rows == all_pairs(*factors), "the same cases in every run"
    for (i, first), (j, second) in combinations(enumerate(factors), 2):
        assert {(row[i], row[j]) for row in rows} == set(product(first, second))
    largest, second_largest = sorted(sizes)[:-3:-1]
    assert largest * second_largest <= len(rows) <= 1.4 * largest * second_largest


def test_equal_values_are_kept_apart() -> None:
    assert len(all_pairs([0, 0.0, False], [1, True])) == 6


@pytest.mark.parametrize("sizes", [(31, 4), (31, 10), (4, 4), (3, 13), (12, 10)], ids=str)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_every_value_has_as_many_companions_as_asked_for(sizes: tuple[int, int], times: int) -> None:
    rows = in_turn(range(sizes[0]), range(sizes[1]), times)
    assert len(rows) == max(sizes) * times
    assert len(set(rows)) == len(rows), "no case twice"
    for place, size in enumerate(sizes):
        seen = Counter(row[place] for row in rows)
        assert set(seen) == set(range(size)) and min(seen.values()) >= times


def test_more_companions_than_there_are_cannot_be_asked_for() -> None:
    with pytest.raises(AssertionError, match="2 values cannot give 3 different ones"):
        in_turn(range(5), range(2), 3)
