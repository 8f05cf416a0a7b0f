"""How many points bits will cost, learned from runs that were made: harm before, points lost after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.optimize import isotonic_regression

FEWEST = 3  # runs from which something is predicted


@dataclass(frozen=True, eq=False)
class Prediction:
    """`harms` of runs, rising, as `Forecast.harm` has them, and the points they `lost`, made never to fall.

    `error`: how far predictions are off, in points: each run predicted from the others, a mean of absolute
    differences; None where there are too few. Between runs a line is drawn, from no harm and no loss on.
    """

    harms: ndarray
    lost: ndarray
    error: float | None

    @property
    def reaches(self) -> float:
        """The largest harm that a run had; beyond it nothing is known."""
        return float(self.harms[-1])

    def points(self, harm: float) -> float | None:
        """Points lost by bits of this `harm`; None beyond `reaches`."""
        if harm > self.reaches * (1 + 1e-9):
            return None
        return float(np.interp(harm, [0.0, *self.harms], [0.0, *self.lost]))


def predicted_from(runs: Sequence[tuple[float, float]]) -> Prediction | None:
    """From (harm, points lost) of at least FEWEST runs; None from fewer."""
    if len(runs) < FEWEST:
        return None
    errors = [_left_out(runs, index) for index in range(len(runs))]
    known = [error for error in errors if error is not None]
    return Prediction(*_rising(runs), float(np.mean(known)) if known else None)


def _left_out(runs: Sequence[tuple[float, float]], index: int) -> float | None:
    """How far a run is off where the others predict it; None where they do not reach."""
    harm, lost = runs[index]
    harms, losts = _rising([*runs[:index], *runs[index + 1 :]])
    said = Prediction(harms, losts, None).points(harm)
    return None if said is None else abs(said - lost)


def _rising(runs: Sequence[tuple[float, float]]) -> tuple[ndarray, ndarray]:
    """Sorted by harm; least squares of what never falls and is never below 0."""
    harms, lost = np.array(sorted(runs), np.float64).T
    return harms, np.maximum(isotonic_regression(lost).x, 0.0)
