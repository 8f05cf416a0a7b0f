"""Every object of a picture: a grid of clicks, of whose answers the good and different ones stay.

As the package's ``SamAutomaticMaskGenerator`` on a picture that is no larger than what the model sees. A
larger one is worked on at the model's size, since masks of a photograph's size take tens of gigabytes; they
are kept as run lengths and made large one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy import ndarray
from PIL import Image
from torch.nn import functional
from torchvision.ops.boxes import batched_nms

from ..common.arithmetic import plain_arithmetic
from ..common.checks import check_count
from ..common.masks import tight_box
from ..common.monitor import Monitor, Progress
from .grid import Part, Thresholds, answers
from .regions import cleaned, largest_piece
from .rle import RunLengths
from .segmenter import Segmenter

MOST_POINTS = 256  # along a side


@dataclass(frozen=True, eq=False)
class Everything:
    """All masks of a picture of ``size`` (height, width), which lie in memory as run lengths only.

    ``min_region``: no mask has a piece or a hole of fewer pixels of the original.
    """

    size: tuple[int, int]
    parts: tuple[Part, ...] = field(repr=False)
    min_region: int = 0

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def runs(self) -> list[RunLengths]:
        """What :func:`matched` takes to compare two models on one picture."""
        return [part.runs for part in self.parts]

    def mask(self, index: int) -> ndarray:
        """Number ``index``, bool [H, W] at the size of the original; made anew at every call."""
        return _at_size(self.parts[index].runs, self.size, self.min_region)

    def masks(self) -> Iterator[ndarray]:
        """One after the other."""
        return (self.mask(index) for index in range(len(self)))


@plain_arithmetic
def segment_everything(
    model: object,
    picture: Image.Image,
    points_per_side: int = 32,
    min_region: int = 0,
    thresholds: Thresholds | None = None,
    batch: int = 16,
    progress: Progress | None = None,
    cancel: object = None,
) -> Everything:
    """All that a ``Sam`` finds in ``picture`` with ``points_per_side``² clicks, the best first.

    ``model``: as for a Segmenter, or a Segmenter, whose embedding is used again. ``min_region``: pixels of
    the original below which holes are filled and pieces removed. ``batch``: clicks decoded at once; more
    take more memory. Raises ValueError, one sentence, for settings and pictures that cannot be, NotFinite
    where the model gives NaN, Cancelled when told to stop.
    """
    _check_settings(points_per_side, min_region, batch)
    thresholds = Thresholds() if thresholds is None else thresholds
    monitor = Monitor(progress, cancel)
    monitor.report(0.0, "Looking at the picture")
    opened = (model if isinstance(model, Segmenter) else Segmenter(model)).opened(picture)
    parts = list(answers(opened, points_per_side, batch, thresholds, monitor))
    parts = _different(parts, [part.predicted_iou for part in parts], thresholds.overlap)
    if min_region:
        parts = _tidied(parts, opened.size, min_region, thresholds.overlap)
    monitor.done(f"Found {len(parts)}")
    return Everything(opened.size, tuple(parts), min_region)


def _check_settings(points_per_side: int, min_region: int, batch: int) -> None:
    check_count("points_per_side", points_per_side)
    if points_per_side > MOST_POINTS:
        raise ValueError(f"points_per_side may be at most {MOST_POINTS}, got {points_per_side}")
    check_count("batch", batch)
    if type(min_region) is not int or min_region != 0:
        check_count("min_region", min_region, hint="; 0 leaves all pieces and holes")


def _different(parts: Sequence[Part], scores: Sequence[float], overlap: float) -> list[Part]:
    """The best first; none whose box overlaps a better one's too much."""
    if not parts:
        return []
    boxes = torch.tensor([_box(part.runs.mask()) for part in parts])
    keep = batched_nms(boxes, torch.tensor(scores), torch.zeros(len(parts)), iou_threshold=overlap)
    return [parts[index] for index in keep.tolist()]


def _box(mask: ndarray) -> tuple[float, float, float, float]:
    """As the package has it: up to the last pixels inside, not to those just outside."""
    x0, y0, x1, y1 = tight_box(mask)
    return x0, y0, x1 - 1, y1 - 1


def _tidied(parts: Sequence[Part], size: tuple[int, int], min_region: int, overlap: float) -> list[Part]:
    """Without specks and holes; what consists of specks goes, and so does what is the same as another now."""
    found, unchanged = [], []
    for part in parts:
        before = part.runs.mask()
        least = min_region * before.size / (size[0] * size[1])
        after = cleaned(before, least)
        # What is hardly large enough may fall short at the original's size.
        if largest_piece(after) >= 2 * least or _at_size(RunLengths.of(after), size, min_region).any():
            found.append(replace(part, runs=RunLengths.of(after)))
            unchanged.append(float(np.array_equal(before, after)))  # these stay rather than the others
    return _different(found, unchanged, overlap)


@torch.no_grad()
def _at_size(runs: RunLengths, size: tuple[int, int], min_region: int) -> ndarray:
    mask = runs.mask()
    if runs.size == size:
        return mask
    inside = torch.from_numpy(np.ascontiguousarray(mask, np.float32))[None, None]
    large = functional.interpolate(inside, size, mode="bilinear", align_corners=False)[0, 0] >= 0.5
    return cleaned(large.numpy(), min_region) if min_region else large.numpy()
