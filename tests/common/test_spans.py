"""Stretches against sets of places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitq_core.common.spans import Span, covered, dealt, merged, without

SPANS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6)


def places(spans: list[Span]) -> set[int]:
    return {place for start, stop in spans for place in range(start, stop)}


@given(spans=SPANS, done=SPANS)
def test_stretches_are_sets_of_places(spans: list[Span], done: list[Span]) -> None:
    assert places(merged(spans)) == places(spans)
    assert covered(spans) == len(places(spans))
    assert places(without(spans, done)) == places(spans) - places(done)
    ends = [place for span in merged(spans) for place in span]
    assert ends == sorted(set(ends)), "they neither meet nor overlap"


@given(spans=SPANS, of=st.integers(1, 7), unit=st.integers(1, 5))
def test_every_place_is_dealt_to_one(spans: list[Span], of: int, unit: int) -> None:
    shares = [places(dealt(spans, rank, of, unit)) for rank in range(of)]
    assert sum(map(len, shares)) == len(places(spans)) == len(set().union(*shares))
    if unit == 1:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_units_stay_whole() -> None:
    assert [dealt([(0, 10)], rank, 2, 4) for rank in range(2)] == [[(0, 4)], [(4, 10)]]
    assert [dealt([(3, 5)], rank, 3) for rank in range(3)] == [[], [(3, 4)], [(4, 5)]]


@pytest.mark.parametrize("spans", [[], [(4, 4)], [(5, 2)]])
def test_nothing_is_nothing(spans: list[Span]) -> None:
    assert merged(spans) == [] == dealt(spans, 0, 2) and covered(spans) == 0
