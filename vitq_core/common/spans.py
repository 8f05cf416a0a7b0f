"""Stretches of a row of pictures, [start, stop): what is done of it, what is left, and who takes which."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same places as sorted stretches that neither meet nor overlap."""
    found: list[Span] = []
    for start, stop in sorted((start, stop) for start, stop in spans if start < stop):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def without(spans: Iterable[Span], done: Iterable[Span]) -> list[Span]:
    """What of ``spans`` is not in ``done``."""
    left = merged(spans)
    for first, last in merged(done):
        pieces = [((start, min(stop, first)), (max(start, last), stop)) for start, stop in left]
        left = [(start, stop) for pair in pieces for start, stop in pair if start < stop]
    return left


def covered(spans: Iterable[Span]) -> int:
    """How many places are in them."""
    return sum(stop - start for start, stop in merged(spans))


def dealt(spans: Iterable[Span], rank: int, of: int, unit: int = 1) -> list[Span]:
    """The share of worker ``rank`` among ``of``: neighbouring places, as many for each as can be.

    Nobody is dealt a part of ``unit`` places, counted from where each stretch begins.
    """
    units = [
        (first, min(first + unit, stop))
        for start, stop in merged(spans)
        for first in range(start, stop, unit)
    ]
    return merged(units[rank * len(units) // of : (rank + 1) * len(units) // of])
