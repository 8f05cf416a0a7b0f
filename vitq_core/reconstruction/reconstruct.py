"""The reconstruct pass: attention-score enhanced module-wise optimization (ADFQ-ViT, arXiv 2407.02763).

Units are learned in forward order, each fed the quantized output of those before it. A unit that ends no
better than it was calibrated, with hard rounding, goes back to its calibrated state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from math import inf

import torch
from torch import Tensor, nn

from ..calibration import CalibrationPictures
from ..errors import Cancelled
from ..monitor import Monitor
from ..report import Reconstruction, UnitRow
from ..schedule import Schedule
from ..simulation import Simulation
from ..site import Unit
from .optimize import Diverged, hard_error, learn
from .progress import Clock, Curve, UnitProgress, spoken
from .rows import Cache, Rows
from .state import RunState
from .walk import Feed, Walk
from .weighting import fisher_weights

WHOLE = Unit("")
Watch = Callable[[UnitProgress], None]


def reconstruct(
    simulation: Simulation,
    pictures: CalibrationPictures,
    monitor: Monitor,
    seed: int,
    state: RunState,
    watch: Watch | None = None,
) -> Reconstruction:
    """Learn rounding and scales of every unit. When cancelled, those not reached stay calibrated.

    ``watch`` hears of every unit while it is learned. Raises ValueError for fewer pictures than a batch.
    """
    schedule = simulation.recipe.options.schedule
    units = units_of(simulation, schedule)
    with Cache() as room, torch.enable_grad():
        kept = _kept(pictures, schedule, room)
        twin = simulation.float_twin()
        weights = cache(lambda: _weights(twin, units, kept, schedule, seed))
        run = _Run(simulation, schedule, monitor, seed, state, watch, units, weights)
        chain = simulation.family.chain(simulation.module)
        try:
            walk = Walk(simulation.module, twin, units, chain, kept)
            for unit, gather in walk:
                run.take(unit, gather, schedule)
            if schedule.finish:
                run.take(WHOLE, walk.whole, schedule.finishing)
        except Cancelled:
            return Reconstruction(tuple(run.rows), cancelled=True)
    state.finish()
    return Reconstruction(tuple(run.rows))


def units_of(simulation: Simulation, schedule: Schedule) -> list[Unit]:
    """The family's units that the forward reaches; with ``schedule.blocks`` each block as one."""
    family, module = simulation.family, simulation.module
    units = [u for u in family.units(module) if any(u.holds(name) for name in simulation.layers)]
    if not schedule.blocks:
        return units
    blocks: dict[str, Unit] = {}
    for unit in units:
        name = next((link for link in family.chain(module) if Unit(link).holds(unit.name)), unit.name)
        softmaxes = blocks[name].softmaxes if name in blocks else ()
        blocks[name] = Unit(name, (*softmaxes, *unit.softmaxes))
    return list(blocks.values())


def check_enough(pictures: int, schedule: Schedule | None) -> None:
    """ValueError for fewer pictures than a batch of ``schedule``."""
    if schedule is not None and pictures < schedule.batch_size:
        raise ValueError(
            f"reconstruction takes batches of {schedule.batch_size} pictures and got {pictures} in all; "
            "give more, or set batch_size lower, or effort='none'"
        )


def _kept(pictures: CalibrationPictures, schedule: Schedule, cache: Cache) -> Rows:
    """The pictures learned from: the first ``schedule.pictures``."""
    rows = cache.rows(min(pictures.count, schedule.pictures))
    for chunk in pictures:
        if len(rows) == rows.count:
            break
        rows.append(chunk[: rows.count - len(rows)].cpu())
    return rows


def _weights(
    twin: nn.Module, units: list[Unit], pictures: Rows, schedule: Schedule, seed: int
) -> dict[str, Tensor]:
    if schedule.weighting == "none":
        return {}
    return fisher_weights(twin, units, pictures, seed, next(twin.parameters()).device)


@dataclass
class _Run:
    """The pass over the units: what they have in common."""

    simulation: Simulation
    schedule: Schedule
    monitor: Monitor
    seed: int
    state: RunState
    watch: Watch | None
    units: list[Unit]
    weights: Callable[[], dict[str, Tensor]]

    def __post_init__(self) -> None:
        self.rows: list[UnitRow] = []
        counts = [(unit, self.schedule.iterations) for unit in self.units]
        finish = [(WHOLE, self.schedule.finish)] if self.schedule.finish else []
        self.clock, self.total = Clock(self.simulation, counts + finish), len(counts + finish)

    def take(self, unit: Unit, gather: Callable[[], Feed], schedule: Schedule) -> None:
        """Learn the next unit, or take it over from a run that was stopped."""
        index = len(self.rows)
        self.monitor.report(self.clock.fraction(index), f"reconstruct {unit.title}")
        saved = self.state.load(index, unit.title)
        if saved is None:
            row = self._learned(index, unit, gather, schedule)
            self.state.save(index, row, self.simulation.layer(unit.name).state_dict())
        else:
            row, tensors = saved
            set_unit(self.simulation, unit, tensors)
            self.clock.skip(index)
        self.rows.append(row)
        self._tell(index, row, row.iterations, schedule, self.clock.left(index + 1))

    def _learned(self, index: int, unit: Unit, gather: Callable[[], Feed], schedule: Schedule) -> UnitRow:
        started, curve = time.perf_counter(), Curve(schedule.iterations)
        module, feed = self.simulation.layer(unit.name), gather()
        feed.weights = self.weights().get(unit.name)
        with closing(feed), _restored_on_error(self.simulation, unit) as calibrated:
            before = hard_error(module, feed)
            after_step = partial(self._after_step, index, unit, schedule, curve, before)
            seed = self.seed * 1_000_003 + index  # its own, so that a resumed run draws the same
            try:
                learn(self.simulation, unit, feed, schedule, seed, after_step)
                after = hard_error(module, feed)
                outcome = f"kept as calibrated: learned, the error was {after:.3g}"
            except Diverged as stop:
                after, outcome = inf, f"kept as calibrated: the loss was not finite at iteration {stop}"
            if after < before:
                outcome = "reconstructed"
            else:
                set_unit(self.simulation, unit, calibrated)
        seconds = time.perf_counter() - started
        return UnitRow(unit.title, outcome, before, min(before, after), curve.seen, seconds, curve.points)

    def _after_step(
        self,
        index: int,
        unit: Unit,
        schedule: Schedule,
        curve: Curve,
        before: float,
        iteration: int,
        loss: float,
    ) -> None:
        curve.add(loss)
        self.monitor.check()
        if self.clock.due():
            done, left = iteration + 1, self.clock.left(index, iteration + 1)
            message = f"{unit.title}: {done} of {schedule.iterations}, about {spoken(left)} left"
            self.monitor.report(self.clock.fraction(index, done), f"reconstruct {message}")
            row = UnitRow(unit.title, "learning", before, before, curve.seen, 0.0, curve.points)
            self._tell(index, row, done, schedule, left)

    def _tell(self, index: int, row: UnitRow, done: int, schedule: Schedule, seconds_left: float) -> None:
        if self.watch is not None:
            self.watch(UnitProgress(index, self.total, done, schedule.iterations, row, seconds_left))


@contextmanager
def _restored_on_error(simulation: Simulation, unit: Unit) -> Iterator[dict[str, Tensor]]:
    """Gives the unit's tensors as they are; a unit left half trained by an exception gets them back."""
    calibrated = {name: tensor.clone() for name, tensor in simulation.layer(unit.name).state_dict().items()}
    try:
        yield calibrated
    except BaseException:
        set_unit(simulation, unit, calibrated)
        raise


def set_unit(simulation: Simulation, unit: Unit, tensors: dict[str, Tensor]) -> None:
    """Give the unit these tensors, as its ``state_dict`` has them."""
    simulation.layer(unit.name).load_state_dict(tensors)
    for layer in simulation.layers.values():
        if unit.holds(layer.name) and layer.weight is not None:
            simulation.simulated_weight(layer.name).refresh(simulation.float_weight(layer.name))
