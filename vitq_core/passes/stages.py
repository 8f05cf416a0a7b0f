"""Are the recipe's optional passes worth it on this model? Tried one after the other before the run itself.

What helps small models may harm a large one. So the model is calibrated on a part of the pictures, first
without any optional pass, then with each in turn beside those that helped; the answers to held-back pictures
are compared with those in full precision. A pass that made them worse is struck from the plan and reported.
Few pictures are held back, so the logarithms of their errors are compared: among the errors themselves a few
pictures would decide. In doubt a model is simpler without.

The last pass is tried first: a budget's bits may look good only as long as nothing makes up for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..common.batch import Batch
from ..common.monitor import Monitor
from ..data.calibration_set import CalibrationPictures
from ..graph.prepared import PreparedModel
from ..quantized.report import StageRow
from ..recipes.recipe import Recipe
from ..recipes.steps import RECONSTRUCT, Pass, add_pass
from .answers import answers, log_errors, mean_error, worse
from .base import Run

EVERY = 2  # of so many pictures one is held back
MOST = 64  # pictures that passes are tried on: more would change few decisions, and cost as much again
FEWEST = 8  # with fewer pictures nothing is tried


def _something_to_try(run: Run) -> bool:
    return run.pictures.count >= FEWEST and any(step.optional and step.wanted(run) for step in run.plan)


@add_pass("compare_stages", weight=24.0, when=_something_to_try)
def compare(run: Run) -> None:
    """Strikes the optional passes that do not help, and keeps the bits that a kept one gave out."""
    optional = [step for step in reversed(run.plan) if step.optional]
    rest, held = run.pictures.parted(EVERY, MOST)
    with rest:
        trials = _Trials(run, rest, held, len(optional) + 1)
        before, recipe = trials.errors([], run.recipe)
        kept: list[Pass] = []
        for step in optional:
            after, given = trials.errors([*kept, step], recipe)
            keep = not worse(before, after, step.doubt)
            run.stages += (StageRow(step.name, step.optional, mean_error(before), mean_error(after), keep),)
            if keep:
                kept, before, recipe = [*kept, step], after, given
    run.recipe = recipe
    run.plan = [step for step in run.plan if step in kept or not step.optional]


@dataclass
class _Trials:
    """Calibrated on ``rest``, judged on ``held``; ``count``: how many trials there will be."""

    run: Run
    rest: CalibrationPictures
    held: Batch
    count: int
    done: int = 0
    _last: tuple[Run | None, list[Pass]] = (None, [])  # the last trial's run, and the passes it followed

    def __post_init__(self) -> None:
        self.reference = answers(self.run.prepared.task, self.run.prepared.module, self.held)

    def errors(self, chosen: Sequence[Pass], recipe: Recipe) -> tuple[Tensor, Recipe]:
        """Logarithms of the task's loss, one for each held-back picture, of a model with the ``chosen``
        optional passes; and the recipe with the bits they gave out.

        Where they only go on from what was tried last, that is what they go on from. Learning is not tried:
        it takes far longer than all trials, and undoes by itself what does not help.
        """
        steps = [
            step
            for step in self.run.plan
            if step.name != RECONSTRUCT and (step in chosen or not step.optional)
        ]
        (attempt, followed), self._last = self._last, (None, [])
        if attempt is None or followed != steps[: len(followed)]:
            followed, attempt = [], Run(
                self.run.given, self.run.asked, _copied(self.run.prepared), recipe, self.rest,
                self.run.monitor, self.run.seed,
            )  # fmt: skip
        attempt.monitor = self._monitor()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.run.seed)
            attempt.follow(steps[len(followed) :])
        self._last = attempt, steps
        task = self.run.prepared.task
        given = answers(task, attempt.simulation.module, self.held)
        return log_errors(task, given, self.reference), attempt.recipe

    def _monitor(self) -> Monitor:
        part = self.run.monitor.part(self.done / self.count, (self.done + 1) / self.count)
        self.done += 1
        return part


def _copied(prepared: PreparedModel) -> PreparedModel:
    return replace(prepared, module=deepcopy(prepared.module))
