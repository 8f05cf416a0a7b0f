"""The reconstruct pass: attention-score enhanced module-wise optimization (ADFQ-ViT, arXiv 2407.02763).

Units are learned in forward order, each on the outputs of the quantized units before it. A unit that ends no
better than it was calibrated, with hard rounding, goes back to its calibrated state.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from math import inf

import torch
from torch import Tensor, nn

from ..common.batch import Batch
from ..common.errors import Cancelled
from ..common.monitor import Monitor
from ..data.calibration_set import CalibrationPictures
from ..data.store import Scratch
from ..graph.site import Unit
from ..quantized.cost import cost_of
from ..quantized.report import RECONSTRUCTED as LEARNED
from ..quantized.report import Reconstruction, StageRow, UnitRow
from ..quantized.simulation import Simulation
from ..recipes.schedule import Schedule
from ..recipes.steps import CALIBRATED, COMPENSATED, PASSES, RECONSTRUCT, RECONSTRUCTED, add_pass
from ..reconstruction.optimize import Diverged, hard_error, learn, pieces
from ..reconstruction.progress import Curve, Reporter, Watch
from ..reconstruction.state import RunState, fingerprint, ready_folder
from ..reconstruction.unit_inputs import UnitData, UnitInputs, trained_of
from ..reconstruction.weighting import Weigh, weights_of
from .answers import answers, log_errors, mean_error, worse
from .base import Run
from .compensate import MOST

WHOLE = Unit("")


def _check(run: Run) -> None:
    """What would otherwise be noticed only after calibration."""
    check_enough(run.pictures.count, run.recipe.options.schedule)
    ready_folder(run.state)


@add_pass(
    RECONSTRUCT, needs=(CALIBRATED,), gives=(RECONSTRUCTED,), ends=(CALIBRATED,), weight=90.0, check=_check
)
def reconstruct(run: Run) -> None:
    """Learn rounding and scales of every unit. When cancelled, those not reached stay calibrated."""
    begun = (run.given, run.asked.to_json(), run.pictures, run.seed)
    calibrated = fingerprint(*begun, run.simulation.module, run.recipe.to_json())
    held = _held_back(run) if run.recipe.options.schedule.compare else None
    comparison = None if held is None else _Comparison(run, held)
    with RunState(run.state, calibrated) as kept:
        run.reconstruction = learn_units(
            run.simulation, run.fp_model, run.pictures, run.monitor, run.seed, kept, run.watch
        )
    if comparison is not None and not run.reconstruction.cancelled:
        comparison.settle()


class _Comparison:
    """The calibrated model, to go back to where learning makes its answers worse.

    Units are judged one by one, each by its own output, so only in doubt's favour: a standard error.
    """

    def __init__(self, run: Run, pictures: Batch) -> None:
        self._run, self._pictures = run, pictures
        self._expected = answers(run.prepared.task, run.fp_model, self._pictures)
        self._before = self._errors()
        self._calibrated = {name: part.clone() for name, part in run.simulation.module.state_dict().items()}

    def settle(self) -> None:
        """Keep what was learned, or undo all of it and say so."""
        run, before, after = self._run, self._before, self._errors()
        kept = not worse(before, after, doubt=1.0)
        row = StageRow(RECONSTRUCT, "learning block by block", mean_error(before), mean_error(after), kept)
        run.stages += (row,)
        if not kept:
            set_unit(run.simulation, WHOLE, self._calibrated)
            run.reconstruction = Reconstruction(tuple(map(_undone, run.reconstruction.units)))

    def _errors(self) -> Tensor:
        task = self._run.prepared.task
        return log_errors(task, answers(task, self._run.simulation.module, self._pictures), self._expected)


def _undone(row: UnitRow) -> UnitRow:
    if row.outcome != LEARNED:
        return row
    reason = "kept as it was: with all units learned, the answers were worse"
    return replace(row, outcome=reason, error_after=row.error_before)


def _held_back(run: Run) -> Batch | None:
    """The pictures that units are measured on, not learned from, and that no weight makes up for
    rounding on: of those the calibrated model knows the answers by heart. None where there are none."""
    count = min(run.pictures.count, run.recipe.options.schedule.pictures)
    compensated = any(COMPENSATED in PASSES[name].gives for name in run.recipe.passes)
    start, seen, found = max(trained_of(count), MOST if compensated else 0), 0, []
    if start >= count:
        return None
    for chunk in run.pictures:
        found.append(chunk[max(start - seen, 0) : max(count - seen, 0)])
        seen += len(chunk)
    return Batch.joined(found)


def learn_units(
    simulation: Simulation,
    fp_model: nn.Module,
    pictures: CalibrationPictures,
    monitor: Monitor,
    seed: int,
    state: RunState,
    watch: Watch | None = None,
) -> Reconstruction:
    """Every unit in turn, towards what it gives in ``fp_model``. ``watch`` hears of it on the way."""
    schedule = simulation.recipe.options.schedule
    units = units_of(simulation, schedule)
    plan, finishes = [(unit, schedule) for unit in units], _finishes(simulation, schedule)
    plan += [(WHOLE, _finishing(simulation, schedule))] if finishes else []
    with Scratch() as scratch, torch.enable_grad():
        kept = pictures.kept(schedule.pictures, scratch)
        blocks = simulation.family.blocks(simulation.module)
        temperature = None if schedule.kl_lambda is None else schedule.temperature
        inputs = UnitInputs(simulation.module, fp_model, units, blocks, kept, temperature)
        weights = cache(lambda: weights_of(schedule.weighting, fp_model, units, blocks, kept, seed))
        learning = _Learning(
            simulation, plan, Reporter(simulation, plan, len(kept), monitor, watch), seed, state, weights
        )
        try:
            for _, gather in inputs:
                learning.take(gather)
            if finishes:
                learning.take(partial(inputs.whole, simulation.prepared.task))
        except Cancelled:
            return Reconstruction(tuple(learning.rows), cancelled=True)
    state.finish()
    return Reconstruction(tuple(learning.rows))


def _finishes(simulation: Simulation, schedule: Schedule) -> bool:
    """Whether the whole model learns at the end."""
    if not schedule.finish or schedule.finish_bits is None:
        return bool(schedule.finish)
    return cost_of(simulation)[0].avg_weight_bits <= schedule.finish_bits


def _finishing(simulation: Simulation, schedule: Schedule) -> Schedule:
    """Of a large model in batches as small as its memory: an iteration costs as much as one of all units."""
    held = pieces(list(simulation.layers.values()))
    return replace(schedule.finishing, batch_size=min(schedule.batch_size, held))


def units_of(simulation: Simulation, schedule: Schedule) -> list[Unit]:
    """The family's units that the forward reaches; with ``schedule.blocks`` each block as one."""
    family, module = simulation.family, simulation.module
    units = [u for u in family.units(module) if any(u.holds(name) for name in simulation.layers)]
    if not schedule.blocks:
        return units
    blocks: dict[str, Unit] = {}
    for unit in units:
        name = next((link for link in family.blocks(module) if Unit(link).holds(unit.name)), unit.name)
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


@dataclass
class _Learning:
    """The pass over the units: what they have in common, and the rows of those done."""

    simulation: Simulation
    plan: list[tuple[Unit, Schedule]]
    reporter: Reporter
    seed: int
    state: RunState
    weights: Callable[[], dict[str, Weigh]]
    rows: list[UnitRow] = field(default_factory=list)

    def take(self, gather: Callable[[], UnitData]) -> None:
        """Learn the next unit, or take it over from a run that was stopped."""
        index = len(self.rows)
        unit = self.plan[index][0]
        self.reporter.begin(index)
        saved = self.state.load(index, unit.title)
        if saved is None:
            row = self._learned(index, gather)
            self.state.save(index, row, self.simulation.layer(unit.name).state_dict())
        else:
            row, tensors = saved
            set_unit(self.simulation, unit, tensors)
        self.rows.append(row)
        self.reporter.end(index, row, taken_over=saved is not None)

    def _learned(self, index: int, gather: Callable[[], UnitData]) -> UnitRow:
        started, (unit, schedule) = time.perf_counter(), self.plan[index]
        module, data, curve = self.simulation.layer(unit.name), gather(), Curve(schedule.iterations)
        data.weights = self.weights().get(unit.name)
        with closing(data), _restored_on_error(self.simulation, unit) as calibrated:
            before = hard_error(module, data)
            after_step = partial(self.reporter.step, index, before, curve)
            seed = self.seed * 1_000_003 + index  # its own, so that a resumed run draws the same
            try:
                learn(self.simulation, unit, data, schedule, seed, after_step)
                after = hard_error(module, data)
                outcome = f"kept as it was: learned, the error would be {100 * after:.3g} %"
            except Diverged as stop:
                after, outcome = inf, f"kept as it was: the loss was not finite at iteration {stop}"
            if after < before:
                outcome = LEARNED
            else:
                set_unit(self.simulation, unit, calibrated)
        seconds = time.perf_counter() - started
        return UnitRow(unit.title, outcome, before, min(before, after), curve.seen, seconds, curve.points)


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
