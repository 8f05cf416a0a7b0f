"""What `make test` leaves out of a test's values."""

import pytest

from tests.widening import mostly_wide


def test_all_are_there_and_those_kept_are_not_wide() -> None:
    first, second, third = mostly_wide("abc", "b")
    assert second == "b" and (first.values, third.values) == (("a",), ("c",))
    assert [mark.name for mark in first.marks + third.marks] == ["wide", "wide"]


def test_a_value_that_is_not_there_is_not_kept() -> None:
    with pytest.raises(ValueError, match="x"):
        mostly_wide("abc", "x")


def test_rows_give_a_value_to_each_argument() -> None:
    kept, other = mostly_wide([(1, 2), (3, 4)], (1, 2))
    assert kept == (1, 2) and other.values == (3, 4)
