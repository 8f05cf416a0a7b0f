"""What was measured, as rows of a card: never a number without how many pictures it is of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from ..tasks import Evaluation


@dataclass(frozen=True)
class Measure:
    """``name``: its field in an Evaluation; ``kind``: as the hub calls it, empty where it has no name for it.
    ``share``: of pictures, so that it has a standard error; ``counts``: the field that says of how many.
    ``noun``: what those are."""

    name: str
    title: str
    kind: str = ""
    share: bool = False
    counts: str = "n"
    noun: str = "pictures"
    against_itself: float | None = None  # what full precision has by definition


@dataclass(frozen=True)
class Figure:
    """``full``: full precision's on as many; None where that was not measured."""

    measure: Measure
    value: float
    count: int
    full: float | None

    @property
    def written(self) -> str:
        return _written(self.measure, self.value, self.count)

    @property
    def full_written(self) -> str:
        itself = self.measure.against_itself
        if itself is not None:
            return f"{100 * itself:.0f} %" if self.measure.share else f"{itself:g}"
        return "not measured" if self.full is None else _written(self.measure, self.full, self.count)

    @property
    def of(self) -> str:
        return f"{self.count:,} {self.measure.noun}"


LABELLED, PROMPTS = "labelled", "prompts"
MEASURES = (
    Measure("top1", "Right answers (top-1)", "accuracy", True, LABELLED, "labelled pictures"),
    Measure("top5", "Right answer among the first five", "", True, LABELLED, "labelled pictures"),
    Measure("agreement", "Same answer as full precision", "", True, against_itself=1.0),
    Measure("kl", "Divergence from full precision's probabilities (KL, nats)", against_itself=0.0),
    Measure("cosine", "Cosine with full precision's features", against_itself=1.0),
    Measure("token_cosine", "Cosine of patch tokens, mean", against_itself=1.0),
    Measure("class_token_cosine", "Cosine of class tokens, mean", against_itself=1.0),
    Measure("min_cosine", "Least cosine of any patch token", against_itself=1.0),
    Measure("iou", "IoU of the chosen mask with the right one", "mean_iou", noun=PROMPTS),
    Measure("best_iou", "IoU of the best of the masks", noun=PROMPTS),
    Measure("agreement_iou", "IoU with full precision's mask", noun=PROMPTS, against_itself=1.0),
    Measure("changed_choices", "Prompts for which another mask was chosen", "", True, noun=PROMPTS,
            against_itself=0.0),
)  # fmt: skip


def figures_of(evaluation: Evaluation | None, reference: Evaluation | None) -> Iterator[Figure]:
    """Of the quantized model; ``reference``: what was measured of full precision. Full precision's numbers of
    other pictures, as their counts tell, are left out: they cannot be compared."""
    for measure in MEASURES if evaluation is not None else ():
        value, count = evaluation[measure.name], evaluation[measure.counts] or evaluation.n
        if value is None:
            continue
        same = reference is not None and (reference[measure.counts] or reference.n) == count
        yield Figure(measure, value, count, reference[measure.name] if same else None)


def _written(measure: Measure, value: float, count: int) -> str:
    if not measure.share:
        return f"{value:.4f}"
    low, high = (100 * end for end in interval(value, count))
    return f"{100 * value:.1f} % ({low:.1f} to {high:.1f})"


def interval(share: float, count: int) -> tuple[float, float]:
    """Where the share of all pictures lies, by that of ``count`` drawn at random, with 95 % confidence
    (Wilson's interval, which is not empty where every picture or none was right)."""
    z = 1.96 / sqrt(count)
    middle, half = share + z * z / 2, z * sqrt(share * (1 - share) + z * z / 4)
    return max((middle - half) / (1 + z * z), 0.0), min((middle + half) / (1 + z * z), 1.0)
