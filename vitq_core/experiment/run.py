"""One experiment: what the full-precision model says about held-out pictures, and what is left of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..evaluation import evaluate
from ..models import Model
from ..pipeline import quantize
from ..quantized.result import QuantizeResult
from ..recipes.recipe import Recipe
from ..reconstruction.progress import Watch
from ..tasks import Evaluation
from .measure import Batches, Cancel, Progress, Replay, last, part_of, readable, recording
from .samples import Sample, Source

# How much of a run is done when calibration begins and when measuring begins.
PARTS = (0.08, 0.62)
LEARNING_PARTS = (0.02, 0.95)


@dataclass(frozen=True, eq=False)
class Reference:
    """The full-precision model on the held-out pictures; shared by all runs that use the same ones.

    `logits`: its answers, in the pictures' order. `skipped` pictures could not be read and were left out.
    """

    samples: Sequence[Sample]
    logits: Tensor
    evaluation: Evaluation
    skipped: int = 0

    @property
    def labelled(self) -> bool:
        return self.evaluation.top1 is not None


@dataclass(frozen=True, eq=False)
class Measured:
    """A quantized model and how it compares; `logits`: its answers, ordered like the reference's."""

    result: QuantizeResult
    evaluation: Evaluation
    logits: Tensor


def refer(
    model: Model, source: Source, count: int, progress: Progress | None = None, cancel: Cancel | None = None
) -> Reference:
    """Up to `count` held-out pictures of `source`, answered in full precision. Raises Cancelled."""
    part_of(progress, 0, 1)(0.0, "Reading held-out pictures")
    wanted = source.held_out(count)
    samples = readable(wanted, cancel)
    loader = Batches(samples, model.preprocess, cancel=cancel)
    with recording(model.module) as seen:
        evaluation = evaluate(model.module, loader, progress=part_of(progress, 0.3, 1), cancel=cancel)
    return Reference(samples, last(seen, evaluation.n), evaluation, skipped=len(wanted) - len(samples))


def quantize_and_measure(
    model: Model,
    source: Source,
    reference: Reference,
    recipe: Recipe,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    drop: Cancel | None = None,
    watch: Watch | None = None,
) -> Measured:
    """Quantize `model`, calibrated on `count` pictures of `source`, and compare it with `reference`.

    `cancel` ends the run with what is learned so far, or with Cancelled; `drop` ends the measuring too.
    """
    begins, ends = PARTS if recipe.options.schedule is None else LEARNING_PARTS
    part_of(progress, 0, 1)(0.0, "Reading calibration pictures")
    batches = Batches(readable(source.calibration(count, seed), cancel), model.preprocess, cancel=cancel)
    calibrating = part_of(progress, begins, ends)
    result = quantize(model, batches, recipe, seed=seed, cancel=cancel, progress=calibrating, watch=watch)
    loader, replay = Batches(reference.samples, model.preprocess, cancel=drop), Replay(reference.logits)
    with recording(result.model) as seen:
        evaluation = evaluate(result.model, loader, replay, progress=part_of(progress, ends, 1), cancel=drop)
    return Measured(result, evaluation, last(seen, evaluation.n))
