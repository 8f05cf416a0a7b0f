"""One finished run: both models' numbers and what they said about every held-out picture."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vitq_core.experiment import counted
from vitq_core.experiment.health import Health
from vitq_core.experiment.likeness import Features, Likeness
from vitq_core.experiment.measure import UNKNOWN, cosines_of, name_of, top
from vitq_core.experiment.run import Reference
from vitq_core.experiment.runs import RunRecord

from .settings import RunSettings, StoppedRun
from .words import some

NEIGHBOURS = 5


@dataclass(frozen=True, eq=False)
class Pair:
    """Both models' best five (name, probability) for a picture, best first; `truth` is None where unknown.

    `unlike`: whether the picture is unlike those of the run, None where that is not told.
    """

    full: list[tuple[str, float]]
    quantized: list[tuple[str, float]]
    truth: str | None = None
    unlike: bool | None = None

    @property
    def flipped(self) -> bool:
        return self.full[0][0] != self.quantized[0][0]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Of one picture without an answer: the test pictures that each model finds most alike.

    `full`, `quantized`: (index of the test picture, cosine), nearest first. `cosine`: of the two models'
    features of the picture itself. `unlike`: as in `Pair`.
    """

    full: list[tuple[int, float]]
    quantized: list[tuple[int, float]]
    cosine: float
    unlike: bool | None = None

    @property
    def kept(self) -> int:
        """How many of the full-precision model's neighbours the quantized model finds too."""
        return len({index for index, _ in self.full} & {index for index, _ in self.quantized})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the page shows. `logits` [N, classes]: the quantized model's, ordered like `reference.samples`.

    Of a model without classes they are its features, [N, D] or [N, T, D].
    """

    settings: RunSettings
    model: Any
    result: Any
    reference: Reference
    evaluation: Any
    logits: Tensor
    about: str
    about_pictures: str  # what the choice of pictures costs, if anything
    left_out: tuple[str, ...] = ()  # calibration pictures that could not be read
    likeness: Likeness | None = None
    stored: bool = False  # computed before, and read from a file
    record: RunRecord | None = None  # what is kept of it; None of a run that was stopped
    health: Health | None = None  # of the calibration pictures

    @property
    def warning(self) -> str:
        """What to mind about the numbers; empty where there is nothing."""
        unread = (("to calibrate", self.left_out), ("to test", self.reference.left_out))
        said = [
            f"{counted(len(names), 'picture')} {use} could not be read and "
            f"{'was' if len(names) == 1 else 'were'} left out: {some(names)}."
            for use, names in unread
            if names
        ]
        found = self.health.warnings if self.health else ()
        return " ".join([*said, *[self.about_pictures] * bool(self.about_pictures), *found])

    @property
    def total_modules(self) -> int:
        """How many modules there were to learn, those not reached included; 0 without learning."""
        own = self.settings
        return own.modules if isinstance(own, StoppedRun) else len(self.result.report.units)

    @property
    def classifies(self) -> bool:
        """Whether the model gives answers; else features, which have no first answer and no accuracy."""
        return self.model.info.task != "features"

    @cached_property
    def cosines(self) -> Tensor:
        """[N]: between both models' features of each picture."""
        return cosines_of(self.logits, self.reference.logits)

    @cached_property
    def flips(self) -> Tensor:
        """bool [N]: the two models' first answers differ; features have none."""
        if not self.classifies:
            return torch.zeros(len(self.logits), dtype=torch.bool)
        return self.reference.logits.argmax(1) != self.logits.argmax(1)

    @cached_property
    def order(self) -> list[int]:
        """Indices of all samples: flipped ones first, then by how far the probabilities moved.

        Features: the least alike of the two models' first.
        """
        if not self.classifies:
            return self.cosines.argsort().tolist()
        moved = (self.reference.logits.softmax(1) - self.logits.softmax(1)).abs().sum(1)
        return (moved + 10 * self.flips).argsort(descending=True).tolist()

    @property
    def labelled(self) -> int:
        """How many test pictures show what they are."""
        return sum(sample.label is not None for sample in self.reference.samples)

    @cached_property
    def change_in_accuracy(self) -> tuple[float, float]:
        """How much more of the labelled pictures the quantized model gets right, and its 95 % margin.

        The margin comes from the pictures that only one of the two gets right: both saw the same ones. Where
        there are none it is 3/n, what n trials without an event leave possible.
        """
        labels = torch.tensor([UNKNOWN if s.label is None else s.label for s in self.reference.samples])
        known = labels != UNKNOWN
        right = [(logits.argmax(1) == labels)[known] for logits in (self.reference.logits, self.logits)]
        change = right[1].double() - right[0].double()
        count = max(len(change), 1)
        margin = 1.96 * float(change.std(correction=0)) / count**0.5
        return float(change.mean()), max(margin, min(3 / count, 1.0))

    def pair(self, index: int) -> Pair | Neighbours:
        if not self.classifies:
            return self.neighbours(self.reference.logits[index], self.logits[index], index)
        label = self.reference.samples[index].label
        truth = None if label is None else name_of(label, self.model.labels)
        full, quantized = self.reference.logits[index], self.logits[index]
        return Pair(top(full, self.model.labels), top(quantized, self.model.labels), truth)

    def compare(self, full: Tensor, quantized: Tensor) -> Pair | Neighbours:
        """Both models' outputs for a picture that is none of the test pictures."""
        if not self.classifies:
            return self.neighbours(full, quantized)
        return Pair(top(full, self.model.labels), top(quantized, self.model.labels))

    def neighbours(self, full: Tensor, quantized: Tensor, own: int | None = None) -> Neighbours:
        """Of a picture with these features; `own`: its index, where it is a test picture itself."""
        return Neighbours(
            _nearest(full, self.reference.logits, own),
            _nearest(quantized, self.logits, own),
            float(cosines_of(quantized[None], full[None])[0]),
        )

    def is_unlike(self, features: Features) -> bool | None:
        """Whether a picture with these features is unlike those of the run; None where that is not told."""
        return None if self.likeness is None else bool(self.likeness.unlike(features)[0])

    def answers(self, index: int) -> tuple[str, str]:
        """The two models' first answers."""
        best = (self.reference.logits[index].argmax(), self.logits[index].argmax())
        full, quantized = (name_of(int(i), self.model.labels) for i in best)
        return full, quantized


def _nearest(features: Tensor, others: Tensor, own: int | None) -> list[tuple[int, float]]:
    alike = cosines_of(features[None].expand_as(others), others)
    if own is not None:
        alike[own] = -2.0  # a picture is no neighbour of itself
    count = min(NEIGHBOURS, len(others) - (own is not None))
    values, indices = alike.topk(count)
    return list(zip(indices.tolist(), values.tolist(), strict=True))
