"""The best candidate is found without working all of them out; nothing is searched twice."""

from types import SimpleNamespace

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vitq_core.passes.search.descent import alternate, closed_in, least

SIZES = st.integers(1, 6)


@given(SIZES, st.integers(1, 12), SIZES, st.integers(0, 9), st.booleans())
def test_it_is_the_first_least_sum(pieces: int, candidates: int, groups: int, seed: int, tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    table = torch.rand(pieces, candidates, groups, generator=generator)
    table = (4 * table).floor() if tied else table
    found = least(lambda piece, numbers: table[piece][numbers], pieces, candidates)
    assert torch.equal(found, table.double().sum(0).argmin(0))


def test_what_cannot_win_is_given_up() -> None:
    table, asked = torch.ones(10, 100, 1), []
    table[:, 40] = 0.1

    def errors(piece: int, numbers: Tensor) -> Tensor:
        asked.append(len(numbers))
        return table[piece][numbers]

    assert int(least(errors, 10, 100)) == 40
    assert sum(asked) == 100 + 9 + 99


@given(st.integers(1, 120), st.integers(0, 130))
def test_closing_in_finds_the_end_of_a_slope(candidates: int, place: int) -> None:
    asked = []

    def best_of(numbers: Tensor) -> int:
        asked.append(len(numbers))
        return int((numbers - place).abs().argmin())

    assert closed_in(candidates, best_of) == min(place, candidates - 1)
    assert sum(asked) <= -(-candidates // 16) + 4 * 3


@given(st.integers(30, 120), st.integers(0, 119), st.integers(-15, 15))
def test_it_may_begin_at_what_was_the_best_before(candidates: int, place: int, off: int) -> None:
    asked = []
    place = min(place, candidates - 1)

    def best_of(numbers: Tensor) -> int:
        asked.append(len(numbers))
        return int((numbers - place).abs().argmin())

    near = min(max(place + off, 0), candidates - 1)
    assert closed_in(candidates, best_of, near) == place
    assert sum(asked) <= 4 * 3


def operand(alone: bool = False, searched: bool = True) -> SimpleNamespace:
    one = SimpleNamespace(
        chosen=None, searched=searched, quantizer=SimpleNamespace(searched_alone=alone), asked=0
    )
    one.choose = lambda numbers: setattr(one, "chosen", numbers)
    return one


def test_a_search_that_would_be_the_same_is_not_made() -> None:
    first, second = operand(), operand()

    def search(one: SimpleNamespace, other: SimpleNamespace) -> Tensor:
        one.asked += 1
        return torch.tensor([min(2, one.asked)]) if one is first else torch.tensor([7])

    alternate(first, second, search, rounds=5)
    assert (first.asked, second.asked) == (2, 2)  # the first again as the second was chosen; then it is new


def test_one_that_is_searched_alone_is_searched_once_and_one_that_fits_itself_never() -> None:
    first, second = operand(alone=True), operand(searched=False)

    def search(one: SimpleNamespace, other: SimpleNamespace) -> Tensor:
        one.asked += 1
        return torch.tensor([one.asked])

    alternate(first, second, search, rounds=3)
    assert (first.asked, second.asked, second.chosen) == (1, 0, None)
