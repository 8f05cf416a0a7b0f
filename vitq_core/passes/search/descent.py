"""Which candidate is best, found by sums that only grow: most candidates are given up after a few pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

STEPS = (16, 8, 4, 2, 1)  # of a search that closes in

# (number of a piece, numbers of candidates [n]) → what each adds to the error of each group, [n, groups], ≥ 0
Errors = Callable[[int, Tensor], Tensor]


def least(errors: Errors, pieces: int, candidates: int) -> Tensor:
    """[groups]: the candidate with the least sum of ``errors`` over all pieces, the first on a tie.

    Exact: a candidate is given up once its sum so far is above another's whole sum.
    """
    everyone = torch.arange(candidates)
    sums = errors(0, everyone).double()
    leading = sums.argmin(0).unique()
    for piece in range(1, pieces):
        sums[leading] += errors(piece, leading)
    bound = sums[leading].amin(0)
    alive = everyone[~torch.isin(everyone, leading)]
    for piece in range(1, pieces):
        alive = alive[(sums[alive] <= bound).any(1)]
        if not len(alive):
            break
        sums[alive] += errors(piece, alive)
    finished = torch.cat((leading, alive))
    sums[~torch.isin(everyone, finished)] = torch.inf
    return sums.argmin(0)


def alternate(first: object, second: object, search: Callable[[object, object], Tensor], rounds: int) -> None:
    """``search(operand, other)``: the best candidates of the one while the other is as it is, [groups].

    The same search is not made twice: between rounds most choices stay, and then so does what follows.
    """
    seen: dict[int, Tensor | None] = {}
    for _ in range(rounds):
        for operand, other in ((first, second), (second, first)):
            if not operand.searched:
                continue
            beside = None if operand.quantizer.searched_alone else other.chosen
            if id(operand) in seen and _same(seen[id(operand)], beside):
                continue
            seen[id(operand)] = beside
            operand.choose(search(operand, other))


def closed_in(candidates: int, best_of: Callable[[Tensor], int], near: int | None = None) -> int:
    """The number of the best of so many candidates in a row, where neighbours are about equally good: first
    of a few evenly, or of one that was the best before (``near``), then of its neighbours, ever nearer.
    ``best_of(numbers)``: the place of the best of these; the best so far is among them again."""
    widest, *nearer = STEPS
    if near is None:
        numbers = torch.arange(0, candidates, widest)
        near = int(numbers[best_of(numbers)])
    for step in nearer:
        numbers = torch.tensor([n for n in (near - step, near, near + step) if 0 <= n < candidates])
        near = int(numbers[best_of(numbers)])
    return near


def _same(some: Tensor | None, others: Tensor | None) -> bool:
    if some is None or others is None:
        return some is others
    return torch.equal(some, others)


def parts(numbers: Tensor, together: int) -> Sequence[Tensor]:
    """``numbers`` of candidates in parts of at most ``together``."""
    return numbers.split(max(1, together))
