"""How alike two outputs are (Liu et al., arXiv 2106.14156): correlation, and the order of scores."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

THETA = 0.2  # by how much what is larger should stay larger
MOST_PAIRS = 2**20  # that the order is looked at for a candidate


def pearson(reference: Tensor, found: Tensor) -> Tensor:
    """[candidates, pictures]: of all elements of a picture; ``reference`` [pictures, …], ``found``
    [candidates, pictures, …]. 0 where one of both is the same everywhere."""
    a, b = reference.flatten(1), found.flatten(2)
    a = a - a.mean(1, keepdim=True)
    b = b - b.mean(2, keepdim=True)
    norms = a.norm(dim=1) * b.norm(dim=2)
    return (a * b).sum(2) / norms.clamp_min(torch.finfo(a.dtype).tiny)


def ranking_loss(reference: Tensor, found: Tensor, theta: float = THETA) -> Tensor:
    """[…]: ``Σ_k Σ_{i<j} (θ − (Â_ki − Â_kj)·sign(A_ki − A_kj))⁺`` of scores […, rows, columns]; ``found`` may
    have more axes in front."""
    return row_losses(reference, found, theta).sum(-1)


def row_losses(reference: Tensor, found: Tensor, theta: float = THETA) -> Tensor:
    """[…, rows]: the sum over pairs of columns of each row."""
    columns = reference.shape[-1]
    first, second = torch.triu_indices(columns, columns, 1, device=reference.device)
    order = (reference[..., first] - reference[..., second]).sign_()
    apart = (found[..., first] - found[..., second]).mul_(order)
    return apart.neg_().add_(theta).clamp_min_(0).sum(-1)


def pairs(columns: int) -> int:
    """Of the columns of a row."""
    return columns * (columns - 1) // 2


def even_rows(rows: int, columns: int, most: int = MOST_PAIRS) -> slice:
    """Which of so many ``rows`` are looked at: evenly, as many as have at most ``most`` pairs together."""
    return slice(None, None, ceil(rows * pairs(columns) / most) or 1)
