"""One finished run: both models' numbers and what they said about every held-out picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from .measure import name_of, top
from .settings import RunSettings
from .sources import Sample


@dataclass(frozen=True, eq=False)
class Reference:
    """The full-precision model on the held-out pictures; shared by all runs that use the same ones.

    `skipped` pictures could not be read and were left out.
    """

    samples: Sequence[Sample]
    logits: Tensor
    evaluation: Any
    skipped: int = 0

    @property
    def labelled(self) -> bool:
        return self.evaluation.top1 is not None


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

    @cached_property
    def flips(self) -> Tensor:
        """bool [N]: the two models' first answers differ."""
        return self.reference.logits.argmax(1) != self.logits.argmax(1)

    @cached_property
    def order(self) -> list[int]:
        """Indices of all samples: flipped ones first, then by how far the probabilities moved."""
        moved = (self.reference.logits.softmax(1) - self.logits.softmax(1)).abs().sum(1)
        return (moved + 10 * self.flips).argsort(descending=True).tolist()

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
