"""The search for a single scale: factors times the one that the largest value asks for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

FIRST, LAST, COUNT = 0.01, 1.2, 100  # the factors of PTQ4ViT's search
SEARCHED = 2**16  # values that so many candidates are ranked on


def factors(first: float = FIRST, last: float = LAST, count: int = COUNT) -> Tensor:
    """[count]: evenly from ``first`` up to, and without, ``last``."""
    return torch.tensor([first + i * (last - first) / count for i in range(count)])


def start(top: Tensor, half: int) -> Tensor:
    """``top / (h − ½)``, shaped as ``top``: the scale whose last code reaches the largest value; 1 where that
    is 0."""
    scale = top / (half - 0.5)
    return torch.where(scale > 0, scale, torch.ones_like(scale))


def least_error(
    sample: Tensor, begin: Tensor, half: int, rounded: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """(scale, mean squared error), each [groups], of the factor with the least error of ``sample`` [groups,
    values]; ``begin`` [groups]: the scale that is multiplied. Nothing cut off is tried too.

    ``rounded(x, scale)``: the values that codes of ``x`` stand for.
    """
    tiny = torch.finfo(begin.dtype).tiny
    unit = (begin * (half - 0.5)).clamp_min(tiny)[:, None]  # squares of huge values would be infinite
    plain = sample / unit
    exact = torch.tensor([(half - 0.5) / (half - 1)])
    tried = torch.cat((exact, factors())).to(begin.device) / (half - 0.5)
    errors = torch.stack([(rounded(plain, each) - plain).square_().mean(1) for each in tried])
    best = errors.argmin(0)
    scale = (tried[best] * unit[:, 0]).clamp_min(tiny)
    return scale, (rounded(sample, scale[:, None]) - sample).square_().mean(1)
