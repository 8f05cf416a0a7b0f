"""Independent parameters of a test, paired instead of multiplied: every value in company, in few cases."""

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any


def all_pairs(*factors: Iterable[Any]) -> list[tuple]:
    """Rows with a value of each factor, so that every two values of different factors share a row.

    Greedy over the whole product, in its order: for factors of a few values each.
    """
    values = [list(factor) for factor in factors]
    rows = list(product(*(range(len(factor)) for factor in values)))
    missing = {pair for row in rows for pair in combinations(enumerate(row), 2)}
    chosen = []
    while missing:
        best = max(rows, key=lambda row: sum(pair in missing for pair in combinations(enumerate(row), 2)))
        missing -= set(combinations(enumerate(best), 2))
        chosen.append(tuple(factor[index] for factor, index in zip(values, best, strict=True)))
    return chosen


def in_turn(one: Iterable[Any], other: Iterable[Any], times: int = 1) -> list[tuple]:
    """Every value of both in at least ``times`` rows, each time with another value of the other.

    Two factors have no fewer pairs than their product: this is for those that hardly meet in the code.
    """
    one, other = list(one), list(other)
    if len(one) < len(other):
        return [(a, b) for b, a in in_turn(other, one, times)]
    assert times <= len(other), f"{len(other)} values cannot give {times} different ones"
    return [(a, other[(index * times + k) % len(other)]) for index, a in enumerate(one) for k in range(times)]
