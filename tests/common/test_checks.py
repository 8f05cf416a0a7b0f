"""Each check lets through what is right and says, for anything else, what would be."""

import pytest

from vitq_core.common.checks import (
    check_choice,
    check_count,
    check_function,
    check_number,
    check_share,
    check_whole,
)

NAN, INF = float("nan"), float("inf")
NO_NUMBERS = ("3", True, False, [1], None, NAN)


@pytest.mark.parametrize("value", [None, 1, 0.5, 1e-30, 1e30])
def test_numbers_above(value: float | None) -> None:
    check_number("x", value, above=0.0)


@pytest.mark.parametrize("value", [0, 0.0, -1, INF, *(v for v in NO_NUMBERS if v is not None)])
def test_numbers_not_above(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a number above 0, got "):
        check_number("x", value, above=0.0)


def test_numbers_between() -> None:
    check_number("x", 0.25, above=0.0, below=0.5)
    for value in (0.0, 0.5, 2):
        with pytest.raises(ValueError, match=rf"^x must be a number above 0 and below 0.5, got {value}$"):
            check_number("x", value, above=0.0, below=0.5)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.3])
def test_shares_include_their_ends(value: float) -> None:
    check_share("x", value)


@pytest.mark.parametrize("value", [-1e-9, 1.0001, INF, *NO_NUMBERS])
def test_what_is_no_share(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a number from 0 to 1, got "):
        check_share("x", value)


def test_shares_of_another_range() -> None:
    check_share("x", 1e3, least=1e-3, most=1e3)
    with pytest.raises(ValueError, match=r"^x must be a number from 0.001 to 1000, got 0$"):
        check_share("x", 0, least=1e-3, most=1e3)


@pytest.mark.parametrize("value", [1, 2, 10**9])
def test_counts(value: int) -> None:
    check_count("x", value)


@pytest.mark.parametrize("value", [0, -1, 2.5, 2.0, INF, *NO_NUMBERS])
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a whole number of at least 1, got .*; or so$"):
        check_count("x", value, "; or so")


@pytest.mark.parametrize("value", [0, -1, 10**12])
def test_whole_numbers(value: int) -> None:
    check_whole("x", value)


@pytest.mark.parametrize("value", [2.5, 2.0, INF, *NO_NUMBERS])
def test_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a whole number, got "):
        check_whole("x", value)


def test_functions() -> None:
    for value in (None, print, lambda: 1):
        check_function("x", value)
    for value in (5, "print", []):
        with pytest.raises(ValueError, match=r"^x must be a function, got "):
            check_function("x", value)


def test_choices() -> None:
    for value in (None, True, "a"):
        check_choice("x", value, (None, True, "a"))
    for value in (False, "b", 0, [1]):
        with pytest.raises(ValueError, match=r"^x must be one of None, True, a, got "):
            check_choice("x", value, (None, True, "a"))
