"""One experiment: what the full-precision model says about held-out pictures, and what is left of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..evaluation import evaluate
from ..models import Model
from ..pipeline import quantize
from ..quantized.result import QuantizeResult
from ..recipes.recipe import Recipe
from ..reconstruction.progress import Watch
from ..tasks import Evaluation
from .extremes import Extremes, watching_extremes
from .generated import Generated, calibration_of
from .health import Health, health
from .likeness import KEPT, Features, Likeness, features_of, likeness, watching
from .measure import Batches, Cancel, Progress, Replay, last, part_of, recording, usable
from .samples import Sample, Source

# How much of a run is done when calibration begins and when measuring begins.
PARTS = (0.08, 0.62)
LEARNING_PARTS = (0.02, 0.95)
MAKING = 0.5  # of a run whose calibration pictures have to be made first


@dataclass(frozen=True, eq=False)
class Reference:
    """The full-precision model on the held-out pictures; shared by all runs that use the same ones.

    `logits`: its answers, in the pictures' order. `left_out`: the names of those that could not be
    read. `features`, `extremes`: of the first pictures, by which others are told to be like them. `digest`:
    of all their pixels.
    """

    samples: Sequence[Sample]
    logits: Tensor
    evaluation: Evaluation
    left_out: tuple[str, ...] = ()
    features: Features = field(default_factory=dict)
    digest: str = ""
    extremes: Extremes | None = None

    @property
    def labelled(self) -> bool:
        return self.evaluation.top1 is not None


@dataclass(frozen=True, eq=False)
class Measured:
    """A quantized model and how it compares; `logits`: its answers, ordered like the reference's.

    `left_out`: the names of calibration pictures that could not be read. `likeness`: tells whether a picture
    is like those of this run; None where there are too few of them. `digest`: of the calibration pictures'
    pixels. `health`: whether the calibration pictures will do.
    """

    result: QuantizeResult
    evaluation: Evaluation
    logits: Tensor
    left_out: tuple[str, ...] = ()
    likeness: Likeness | None = None
    digest: str = ""
    health: Health | None = None


def refer(
    model: Model, source: Source, count: int, progress: Progress | None = None, cancel: Cancel | None = None
) -> Reference:
    """Up to `count` held-out pictures of `source`, answered in full precision. Raises Cancelled."""
    part_of(progress, 0, 1)(0.0, "Reading held-out pictures")
    judging = usable(source.held_out(count), cancel)
    loader = Batches(judging.samples, model.preprocess, cancel=cancel)
    with (
        recording(model.module) as seen,
        watching(model.module) as watched,
        watching_extremes(model.module, KEPT) as ranges,
    ):
        evaluation = evaluate(model.module, loader, progress=part_of(progress, 0.3, 1), cancel=cancel)
    return Reference(
        judging.samples, last(seen, evaluation.n), evaluation, tuple(judging.unread), watched.features,
        judging.digest, ranges.extremes,
    )  # fmt: skip


def quantize_and_measure(
    model: Model,
    source: Source,
    reference: Reference,
    recipe: Recipe,
    count: int,
    *,
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
    if isinstance(source, Generated):
        making, progress = part_of(progress, 0, MAKING), part_of(progress, MAKING, 1)
    else:
        making = None
    given = usable(calibration_of(source, count, seed, making, cancel), cancel)
    batches = Batches(given.samples, model.preprocess, cancel=cancel)
    calibrating = part_of(progress, begins, ends)
    result = quantize(model, batches, recipe, seed=seed, cancel=cancel, progress=calibrating, watch=watch)
    loader = Batches(reference.samples, model.preprocess, cancel=drop)
    # Recorded features lack the tokens, so a model without classes is run again.
    replay = model.module if model.info.task == "features" else Replay(reference.logits)
    with recording(result.model) as seen:
        evaluation = evaluate(result.model, loader, replay, progress=part_of(progress, ends, 1), cancel=drop)
    with watching_extremes(model.module, KEPT) as ranges:
        features = features_of(model, Batches(given.samples, model.preprocess, cancel=drop))
    return Measured(
        result, evaluation, last(seen, evaluation.n), tuple(given.unread),
        likeness(features, reference.features), given.digest,
        health(features, reference.features, ranges.extremes, reference.extremes),
    )  # fmt: skip
