"""Bottom elimination (APQ-ViT, arXiv 2303.14341): the smallest errors do not count.

Of each candidate those whose magnitude is below their 10th percentile.
"""

from __future__ import annotations

from math import floor

from torch import Tensor

SHARE = 0.1  # of the errors


def eliminated(errors: Tensor) -> Tensor:
    """``errors`` [candidates, …] with 0 for the least of each candidate; written over.

    A percentile lies between two of them, as ``torch.quantile`` has it: the lower one is below it too.
    """
    magnitudes = errors.abs().flatten(1)
    position = SHARE * (magnitudes.shape[1] - 1)
    rank = floor(position)
    limit = magnitudes.kthvalue(rank + 1, dim=1, keepdim=True).values
    small = magnitudes <= limit if position > rank else magnitudes < limit
    return errors.masked_fill_(small.view_as(errors), 0.0)


def metric(error: Tensor, gradient: Tensor) -> Tensor:
    """[candidates]: the sum of ``(g ⊙ e)²`` over what is left of ``error`` [candidates, …], written over."""
    return eliminated(error).mul_(gradient).square_().flatten(1).sum(1)
