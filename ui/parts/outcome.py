"""One finished run: both models' numbers and what they said about every held-out picture."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vitq_core.experiment.measure import UNKNOWN, name_of, top
from vitq_core.experiment.run import Reference

from .settings import RunSettings


@dataclass(frozen=True, eq=False)
class Pair:
    """Both models' best five (name, probability) for a picture, best first; `truth` is None where unknown."""

    full: list[tuple[str, float]]
    quantized: list[tuple[str, float]]
    truth: str | None = None

    @property
    def flipped(self) -> bool:
        return self.full[0][0] != self.quantized[0][0]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the page shows. `logits` [N, classes]: the quantized model's, ordered like `reference.samples`."""

    settings: RunSettings
    model: Any
    result: Any
    reference: Reference
    evaluation: Any
    logits: Tensor
    about: str
    warning: str

    @property
    def total_modules(self) -> int:
        """How many modules there were to learn, those not reached included; 0 without learning."""
        return self.settings.learned[1] if self.settings.learned else len(self.result.report.units)

    @cached_property
    def flips(self) -> Tensor:
        """bool [N]: the two models' first answers differ."""
        return self.reference.logits.argmax(1) != self.logits.argmax(1)

    @cached_property
    def order(self) -> list[int]:
        """Indices of all samples: flipped ones first, then by how far the probabilities moved."""
        moved = (self.reference.logits.softmax(1) - self.logits.softmax(1)).abs().sum(1)
        return (moved + 10 * self.flips).argsort(descending=True).tolist()

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

    def pair(self, index: int) -> Pair:
        label = self.reference.samples[index].label
        truth = None if label is None else name_of(label, self.model.labels)
        full, quantized = self.reference.logits[index], self.logits[index]
        return Pair(top(full, self.model.labels), top(quantized, self.model.labels), truth)

    def answers(self, index: int) -> tuple[str, str]:
        """The two models' first answers."""
        best = (self.reference.logits[index].argmax(), self.logits[index].argmax())
        full, quantized = (name_of(int(i), self.model.labels) for i in best)
        return full, quantized
