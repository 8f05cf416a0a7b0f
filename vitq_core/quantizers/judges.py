"""What rounding a tensor does at the output of the layer that reads it: the error that a search makes least.

A tensor's own squared error counts all its values alike. The output does not: a small weight that meets a
large activation matters, and so does an activation that meets large weights.
"""

from __future__ import annotations

from copy import copy
from typing import Protocol

import torch
from torch import Tensor

from .statistics import even_stride, grouped


def raised_(error: Tensor, power: float) -> Tensor:
    """``|error|^power``, in place: four times as fast as torch's own, which is exact to the last digit."""
    return error.abs_().log2_().mul_(power).exp2_()


class Judge(Protocol):
    """``sample``: [groups, values] of the tensor, on which candidates are tried; not to be written into."""

    sample: Tensor

    def errors(self, difference: Tensor) -> Tensor:
        """The error [groups] of candidates that are off by ``difference`` [groups, values], written over."""

    def raised(self, power: float) -> Judge:
        """One that sums errors of the output raised to ``power`` in place of their squares."""


class _Raised:
    """What judges have in common: the power, by default 2."""

    _power = 2.0

    def raised(self, power: float) -> Judge:
        other = copy(self)
        other._power = power
        return other

    def _raise_(self, error: Tensor) -> Tensor:
        """In place."""
        return error.square_() if self._power == 2 else raised_(error, self._power)


class Weighted(_Raised):
    """``Σ weight · difference²`` over a group's values; ``weights`` broadcast against the sample."""

    def __init__(self, sample: Tensor, weights: Tensor) -> None:
        self.sample, self._weights = sample, weights

    def errors(self, difference: Tensor) -> Tensor:
        return self._raise_(difference).mul_(self._weights).sum(dim=1)

    def thinned(self, values: int) -> Weighted:
        """With about ``values`` of the sample, evenly."""
        stride = even_stride(self.sample.numel(), self.sample.shape[1], values)
        few = self._weights.expand(self.sample.shape)[:, ::stride]
        return Weighted(self.sample[:, ::stride].contiguous(), few)


class Correlated(_Raised):
    """``‖inputs @ d‖²`` of a weight's rows d, for ``inputs`` [rows, values] of the layer."""

    def __init__(self, sample: Tensor, inputs: Tensor) -> None:
        self.sample = sample
        self._root = torch.linalg.qr(inputs, mode="r").R.T  # the same norms with no more columns than rows

    def errors(self, difference: Tensor) -> Tensor:
        return self._raise_(difference @ self._root).sum(dim=1)


class Multiplied(_Raised):
    """``Σ count · (d @ right)²`` of an error d of ``left``, or ``Σ count · (left @ d)²`` of one of ``right``.

    ``left`` [pictures, …, rows, inner], ``right`` [pictures, …, inner, columns]; ``counts`` [pictures, …,
    rows]: how many rows each of ``left`` stands for. ``axis``: that of the groups, one of those between.
    """

    def __init__(
        self, left: Tensor, right: Tensor, counts: Tensor, of_left: bool, axis: int | None = None
    ) -> None:
        self._left, self._right, self._counts, self._of_left, self._axis = left, right, counts, of_left, axis
        self._shape = (left if of_left else right).movedim(axis or 0, 0).shape
        self.sample = grouped(left if of_left else right, () if axis is None else (axis,))

    def errors(self, difference: Tensor) -> Tensor:
        difference = difference.view(self._shape).movedim(0, self._axis or 0)
        product = difference @ self._right if self._of_left else self._left @ difference
        errors = self._raise_(product).sum(dim=-1).mul_(self._counts)
        return grouped(errors, () if self._axis is None else (self._axis,)).sum(dim=1)
