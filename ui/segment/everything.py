"""Segmenting everything with both models: how many objects each finds, and which of them are the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

import vitq_core as vq
from vitq_core.experiment.measure import Progress, part_of

from ..parts.jobs import Job
from .bench import SegmentBench
from .settings import SamSettings
from .visit import Picture

ALONE = -1  # the number of what the other model does not find


@dataclass(frozen=True, eq=False)
class Segments:
    """One model's objects as the picture shows them. `labels` int [h, w]: the smallest that covers a pixel,
    0 where none does. `numbers`: of each object, the same in both models where both found it, otherwise
    ALONE.
    """

    labels: ndarray = field(repr=False)
    numbers: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class Found:
    """`ious`: of the objects that both models found."""

    full: Segments
    quantized: Segments | None = None
    ious: tuple[float, ...] = ()


@dataclass(frozen=True)
class Sieve:
    """What becomes an object: found by one of `points` × `points` clicks, no piece below `least` pixels, the
    model expects an IoU of `expected` or more, and the mask's border is `stable`, from 0 to 1.
    """

    points: int = 16
    least: int = 100
    expected: float = 0.7
    stable: float = 0.8

    def thresholds(self) -> vq.Thresholds:
        return vq.Thresholds(self.expected, self.stable)


def find(
    bench: SegmentBench,
    model_id: str,
    quantized: SamSettings | None,
    picture: Picture,
    how: Sieve,
    progress: Progress | None = None,
    job: Job | None = None,
) -> Found:
    """All objects, as each of the models sees them. Raises vq.Cancelled."""
    read, models = bench.pictures.read(picture), bench.asked(model_id, quantized)
    found = []
    for number, asked in enumerate(models):
        part = part_of(progress, number / len(models), (number + 1) / len(models))
        found.append(
            vq.segment_everything(
                asked.segmenter, read, how.points, how.least, how.thresholds(), progress=part, cancel=job
            )
        )
    return compared(*found)


def compared(full: Any, quantized: Any = None) -> Found:
    """Of one or two `vq.segment_everything`'s."""
    if quantized is None:
        return Found(_segments(full, {}))
    matches = vq.matched(*([part.runs for part in found.parts] for found in (full, quantized)))
    numbers = {match.first: place for place, match in enumerate(matches)}
    others = {match.second: place for place, match in enumerate(matches)}
    ious = tuple(match.iou for match in matches)
    return Found(_segments(full, numbers, alone=True), _segments(quantized, others, alone=True), ious)


def _segments(found: Any, numbers: dict[int, int], alone: bool = False) -> Segments:
    masks = [part.runs.mask() for part in found.parts]
    labels = np.zeros(masks[0].shape if masks else found.size, np.int32)
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].sum()):
        labels[masks[index]] = index + 1
    count = range(len(masks))
    return Segments(labels, tuple(numbers.get(index, ALONE) if alone else index for index in count))
