"""How far a reconstruction is: loss curves of bounded length, and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import nan

from ..common.monitor import Monitor
from ..graph.site import Unit
from ..quantized.report import LEARNING, UnitRow
from ..quantized.simulation import Simulation
from ..recipes.schedule import Schedule

POINTS = 60  # of a loss curve
EVERY = 0.25  # seconds between two reports


@dataclass(frozen=True)
class UnitProgress:
    """What a watcher hears: the unit number ``index`` of ``total``, and its row as it stands.

    ``iteration`` of ``iterations`` are done; ``seconds_left``: the estimate for the whole reconstruction,
    NaN while all that is done was taken over from a stopped run.
    """

    index: int
    total: int
    iteration: int
    iterations: int
    row: UnitRow
    seconds_left: float


Watch = Callable[[UnitProgress], None]


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
    """Time left, by the multiply-accumulates that are still to do."""

    def __init__(self, costs: list[float]) -> None:
        """``costs``: of each unit."""
        self._costs = costs
        self._started, self._base = time.perf_counter(), 0.0

    def skip(self, index: int) -> None:
        """Unit ``index`` was taken over from a stopped run: it took no time."""
        self._base = self._work(index + 1, 0.0)
        self._started = time.perf_counter()

    def fraction(self, index: int, share: float = 0.0) -> float:
        """Of the work that is done with ``share`` of unit ``index``."""
        return self._work(index, share) / max(sum(self._costs), 1)

    def left(self, index: int, share: float = 0.0) -> float:
        """Seconds; NaN before there is anything to judge by."""
        work, total = self._work(index, share), sum(self._costs)
        if work >= total:
            return 0.0
        if work <= self._base:
            return nan
        return (time.perf_counter() - self._started) / (work - self._base) * (total - work)

    def _work(self, index: int, share: float) -> float:
        return sum(self._costs[:index]) + (self._costs[index] * share if share else 0.0)


class Reporter:
    """Tells monitor and watcher how far it is, and lets the caller cancel."""

    def __init__(
        self,
        simulation: Simulation,
        plan: list[tuple[Unit, Schedule]],
        pictures: int,
        monitor: Monitor,
        watch: Watch | None,
    ) -> None:
        """``pictures``: how many are learned from."""
        self._plan, self._pictures, self._monitor, self._watch = plan, pictures, monitor, watch
        layers = simulation.layers.values()
        macs = [sum(layer.macs for layer in layers if unit.holds(layer.name)) for unit, _ in plan]
        passes = [schedule.passes(pictures, schedule.iterations) for _, schedule in plan]
        self._clock = Clock([m * n for m, n in zip(macs, passes, strict=True)])
        self._reported = 0.0

    def begin(self, index: int) -> None:
        """Unit ``index`` is next."""
        self._monitor.report(self._clock.fraction(index), f"Fine-tuning {self._plan[index][0].title}")

    def step(self, index: int, before: float, curve: Curve, iteration: int, loss: float) -> None:
        """An iteration of unit ``index`` is over. Raises Cancelled."""
        curve.add(loss)
        self._monitor.check()
        if time.perf_counter() - self._reported < EVERY:
            return
        self._reported = time.perf_counter()
        (unit, schedule), done = self._plan[index], iteration + 1
        spent, whole = (schedule.passes(self._pictures, n) for n in (done, schedule.iterations))
        share = spent / whole
        left = self._clock.left(index, share)
        message = f"{unit.title}: step {done} of {schedule.iterations}, about {spoken(left)} left"
        self._monitor.report(self._clock.fraction(index, share), f"Fine-tuning {message}")
        self._tell(index, UnitRow(unit.title, LEARNING, before, before, done, 0.0, curve.points), left)

    def end(self, index: int, row: UnitRow, taken_over: bool) -> None:
        """Unit ``index`` is finished, or was in a run before."""
        if taken_over:
            self._clock.skip(index)
        self._tell(index, row, self._clock.left(index + 1))

    def _tell(self, index: int, row: UnitRow, left: float) -> None:
        if self._watch is not None:
            iterations = self._plan[index][1].iterations
            self._watch(UnitProgress(index, len(self._plan), row.iterations, iterations, row, left))


def spoken(seconds: float) -> str:
    """``"40 s"``, ``"3 min"``, ``"2 h 10 min"``."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
