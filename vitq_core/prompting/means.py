"""Means over objects, and how sure they are, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np


@dataclass(frozen=True)
class Score:
    """`mean` over all objects. `error`: its standard error, None for fewer than two pictures."""

    mean: float
    error: float | None


class Mean:
    """Takes the values of a picture's objects at a time.

    Objects of one picture are alike, so the error is that of a sample of pictures (clustered, as for a ratio
    of two sums), which is larger than if every object stood for itself.
    """

    def __init__(self) -> None:
        # Over pictures, with n objects whose values sum to s: how many; sums of n, s, n², n·s and s².
        self._pictures, self._sums = 0, np.zeros(5)

    def add(self, values: Sequence[float]) -> None:
        """Of one picture's objects."""
        n, s = len(values), float(np.sum(values))
        self._pictures += bool(n)
        self._sums += n, s, n * n, n * s, s * s

    def score(self) -> Score:
        """Raises ZeroDivisionError where there was no object."""
        n, s, nn, ns, ss = self._sums.tolist()
        mean = s / n
        if self._pictures < 2:
            return Score(mean, None)
        spread = max(ss - 2 * mean * ns + mean * mean * nn, 0.0)  # Σ (s − n · mean)²
        return Score(mean, sqrt(spread * self._pictures / (self._pictures - 1)) / n)
