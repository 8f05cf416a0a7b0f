"""How far a reconstruction is: loss curves of bounded length, and an estimate of the time left."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..report import UnitRow
from ..simulation import Simulation
from ..site import Unit

POINTS = 60  # of a loss curve
EVERY = 0.25  # seconds between two reports


@dataclass(frozen=True)
class UnitProgress:
    """What a watcher hears: the unit number ``index`` of ``total``, and its row as it stands.

    ``iteration`` of ``iterations`` are done; ``seconds_left``: the estimate for the whole reconstruction.
    """

    index: int
    total: int
    iteration: int
    iterations: int
    row: UnitRow
    seconds_left: float


class Curve:
    """A loss curve of at most POINTS points, each the mean of as many iterations."""

    def __init__(self, iterations: int) -> None:
        self._each = -(-iterations // POINTS)
        self._sums: list[float] = []
        self.seen = 0

    def add(self, loss: float) -> None:
        if self.seen % self._each == 0:
            self._sums.append(0.0)
        self._sums[-1] += loss
        self.seen += 1

    @property
    def points(self) -> tuple[float, ...]:
        if not self._sums:
            return ()
        last = self.seen - self._each * (len(self._sums) - 1)
        return (*(total / self._each for total in self._sums[:-1]), self._sums[-1] / last)


class Clock:
    """Time left, by the multiply-accumulates of the iterations that are still to do."""

    def __init__(self, simulation: Simulation, iterations: list[tuple[Unit, int]]) -> None:
        """``iterations``: how many each unit takes, in order."""
        layers = simulation.layers.values()
        self._paces = [
            sum(layer.macs for layer in layers if unit.holds(layer.name)) for unit, _ in iterations
        ]
        self._costs = [pace * count for pace, (_, count) in zip(self._paces, iterations, strict=True)]
        self._started, self._base, self._told = time.perf_counter(), 0.0, 0.0

    def skip(self, index: int) -> None:
        """Unit ``index`` was taken over from a stopped run: it took no time."""
        self._base = self._work(index + 1, 0)
        self._started = time.perf_counter()

    def fraction(self, index: int, iteration: int = 0) -> float:
        """The share of the work done when so many iterations of unit ``index`` are."""
        return self._work(index, iteration) / max(sum(self._costs), 1)

    def left(self, index: int, iteration: int = 0) -> float:
        """Seconds."""
        work = self._work(index, iteration)
        pace = (time.perf_counter() - self._started) / max(work - self._base, 1e-9)
        return pace * (sum(self._costs) - work)

    def due(self) -> bool:
        """Whether it is time to tell again."""
        now = time.perf_counter()
        if now - self._told < EVERY:
            return False
        self._told = now
        return True

    def _work(self, index: int, iteration: int) -> float:
        return sum(self._costs[:index]) + (self._paces[index] * iteration if iteration else 0.0)


def spoken(seconds: float) -> str:
    """``"40 s"``, ``"3 min"``, ``"2 h 10 min"``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
