"""Proof that what was exported is the model that was shown: the same pictures through both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common.batch import Batch
from ..common.words import counted
from ..tasks import Outputs, Task

SHAKE = 1e-6
LISTS = ("parts", "sentences")


@dataclass(frozen=True)
class Certificate:
    """What an export is, and how it compares with the simulated model on the same pictures. ``n``: how many
    ``counts`` they are, which is what the model answers (pictures, or prompts).

    ``max_difference``: of any two numbers of the outputs, whose deviation is ``spread``; ``cosine``: the
    least of any picture; ``agreement``: share of pictures with the same class. ``own_difference`` and
    ``own_cosine`` are those of the simulation and itself, its pictures changed by a millionth of their
    deviation: a rounding that falls the other way is felt in every later layer, and where a file is as near
    as that (``as_near``) none can be expected to be nearer. ``accuracy`` and ``simulated_accuracy``: where
    labels were given; ``agreement_iou``: mean IoU of the masks that both chose. ``packed``: the largest
    difference after packing and reloading, None where the model cannot be packed. Of the file's products
    ``integer_nodes`` of ``promised`` are of integers, and ``kernels`` run so on this machine. ``parts``: the
    names of the files that belong to the one at ``path``.
    """

    format: str
    path: Path
    bytes: int
    fp32_bytes: int
    sha256: str
    n: int
    max_difference: float
    spread: float
    cosine: float
    own_difference: float
    own_cosine: float
    agreement: float | None = None
    accuracy: float | None = None
    simulated_accuracy: float | None = None
    agreement_iou: float | None = None
    packed: float | None = None
    integer_nodes: int | None = None
    promised: int | None = None
    kernels: int | None = None
    counts: str = "picture"
    parts: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def as_near(self) -> bool:
        """Whether the file differs from the simulation no more than that does from itself."""
        return self.max_difference <= self.own_difference

    @property
    def named(self) -> str:
        """All files of the model, for people."""
        return " and ".join((self.path.name, *self.parts))

    @property
    def counted(self) -> str:
        """``n``, with what it counts."""
        return counted(self.n, self.counts)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; of the path the file's name alone, for the folder may go anywhere."""
        return {**asdict(self), "path": self.path.name, **{name: list(getattr(self, name)) for name in LISTS}}

    @classmethod
    def from_json(cls, data: dict[str, Any], folder: Path) -> Certificate:
        """What :meth:`to_json` gave, of a file in ``folder``."""
        known = {field.name for field in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        lists = {name: tuple(given[name]) for name in LISTS if name in given}
        return cls(**{**given, **lists, "path": folder / given["path"]})


class Distance:
    """The largest difference and the least cosine of a picture, over outputs as they come."""

    def __init__(self) -> None:
        self.difference, self.cosine = 0.0, 1.0

    def add(self, given: Outputs, expected: Outputs) -> None:
        for name, wanted in _numbers(expected).items():
            found, wanted = (each.detach().cpu().double().flatten(1) for each in (given[name], wanted))
            self.difference = max(self.difference, float((found - wanted).abs().max()))
            self.cosine = min(self.cosine, float(torch.cosine_similarity(found, wanted).min()))


class Comparison:
    """An exported model and the simulation on the same pictures, as they come."""

    def __init__(self, task: Task) -> None:
        self.exported, self.itself, self.packed = Distance(), Distance(), Distance()
        self._sums = torch.zeros(3, dtype=torch.float64)  # numbers, their sum, their squares' sum
        self._counts = task.counts
        self._metrics, self._simulated = task.metrics(), task.metrics()

    def add(self, found: Outputs, simulated: Outputs, shaken: Outputs, truth: Any) -> None:
        """What the file answers, what the simulation does, and what it does to pictures that are shaken."""
        self.exported.add(found, simulated)
        self.itself.add(shaken, simulated)
        for answer in _numbers(simulated).values():
            numbers = answer.detach().cpu().double()
            self._sums += torch.stack([torch.tensor(answer.numel()), numbers.sum(), numbers.square().sum()])
        self._metrics.add(found, truth, simulated)
        self._simulated.add(simulated, truth, None)

    @property
    def spread(self) -> float:
        count, total, squares = self._sums.tolist()
        return max(squares / count - (total / count) ** 2, 0.0) ** 0.5

    def figures(self) -> dict[str, Any]:
        """The fields of a :class:`Certificate`. Raises ValueError when there were no pictures."""
        found, simulated = self._metrics.result(), self._simulated.result()
        return {
            "n": found.n,
            "counts": self._counts,
            "max_difference": self.exported.difference,
            "spread": self.spread,
            "cosine": self.exported.cosine,
            "own_difference": self.itself.difference,
            "own_cosine": self.itself.cosine,
            "agreement": found.agreement,
            "accuracy": found.top1,
            "simulated_accuracy": simulated.top1,
            "agreement_iou": found.agreement_iou,
        }


def _numbers(outputs: Outputs) -> Outputs:
    """Without choices made by them."""
    return {name: each for name, each in outputs.items() if each.is_floating_point()}


def shaken(batch: Batch) -> Batch:
    """The same pictures, each number off by about a millionth of their deviation."""
    generator = torch.Generator().manual_seed(0)
    return batch.with_pictures(
        [
            pixels + SHAKE * pixels.std() * torch.randn(pixels.shape, generator=generator).to(pixels)
            for pixels in batch.pictures
        ]
    )


def batches_of(images: Tensor | Iterable, task: Task, size: tuple[int, int, int]) -> Iterator[Batch]:
    """A tensor of all pictures in batches, or what a loader gives."""
    for item in images.split(task.chunk) if isinstance(images, Tensor) else images:
        yield task.collate(item, size)
