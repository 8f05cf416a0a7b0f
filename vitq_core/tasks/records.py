"""What Segment Anything is asked: a picture comes as a dict, as ``Sam.forward`` takes it.

Such a dict holds ``image`` [3, h, w], resized so that its longer side is the model's, ``original_size``
(H, W), and what is asked: ``point_coords`` [P, n, 2] with ``point_labels`` [P, n], ``boxes`` [P, 4],
``mask_inputs`` [P, 1, m, m]; all P prompts in the pixels of ``image``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..common.batch import PICTURE
from .base import shape_of

SIZE, POINTS, LABELS, BOXES, MASKS = (
    *("original_size", "point_coords", "point_labels"),
    *("boxes", "mask_inputs"),
)
PROMPTS = {POINTS: 3, LABELS: 2, BOXES: 2, MASKS: 4}  # name → dimensions
TRAILING = {POINTS: 2, BOXES: 4}  # name → numbers in the last one


def one_click(record: Mapping[str, Any]) -> bool:
    """Whether one click is all that is said of each object, so that three candidates answer it."""
    return BOXES not in record and MASKS not in record and record[POINTS].shape[1] == 1


def checked_record(record: Mapping[str, Any], size: tuple[int, int, int] | None) -> dict[str, Any]:
    """One picture with its prompts, for a model whose pictures have ``size`` at most. Raises ValueError for
    what ``Sam.forward`` cannot take or what it would answer with confident nonsense."""
    image = record.get(PICTURE)
    if not isinstance(image, Tensor) or image.ndim != 3 or len(image) != 3 or not image.numel():
        raise ValueError(f"a record's 'image' must be a tensor [3, height, width], got {shape_of(image)}")
    image = image.detach().float()
    if not torch.isfinite(image).all():
        raise ValueError("the pictures contain NaN or infinite values")
    height, width = image.shape[1:]
    if size is not None and max(height, width) > size[1]:
        raise ValueError(
            f"a record's 'image' is {height}×{width} pixels, and the model takes {size[1]} at most; "
            "resize it so that its longer side is that"
        )
    checked = {PICTURE: image, SIZE: _original(record.get(SIZE, (height, width)))}
    return {**checked, **_checked_prompts(record, height, width)}


def _original(size: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a record's 'original_size' must be (height, width), got {size!r:.80}") from error
    if min(height, width) < 1:
        raise ValueError(f"a record's 'original_size' must be at least 1×1, got {height}×{width}")
    return height, width


def _checked_prompts(record: Mapping[str, Any], height: int, width: int) -> dict[str, Tensor]:
    given = {name: record[name] for name in PROMPTS if record.get(name) is not None}
    if not given:
        raise ValueError(
            "a record asks nothing: give it point_coords with point_labels, boxes or mask_inputs"
        )
    if (POINTS in given) != (LABELS in given):
        raise ValueError("a record's point_coords and point_labels go together; it has only one of them")
    for name, value in given.items():
        _check_shape(name, value)
    counts = {name: len(value) for name, value in given.items()}
    if len(set(counts.values())) > 1 or not min(counts.values()):
        said = ", ".join(f"{name} of {count}" for name, count in counts.items())
        raise ValueError(f"a record's prompts must be for the same objects, at least one; got {said}")
    _check_inside(given, height, width)
    return {name: value.detach().float() for name, value in given.items()}


def _check_shape(name: str, value: object) -> None:
    fits = isinstance(value, Tensor) and value.ndim == PROMPTS[name]
    if not fits or value.shape[-1] != TRAILING.get(name, value.shape[-1]):
        last = f", the last of {TRAILING[name]}" if name in TRAILING else ""
        raise ValueError(
            f"a record's {name} must be a tensor of {PROMPTS[name]} dimensions{last}, got {shape_of(value)}"
        )
    if not torch.isfinite(value.float()).all():
        raise ValueError(f"a record's {name} contain NaN or infinite values")


def _check_inside(given: Mapping[str, Tensor], height: int, width: int) -> None:
    """Clicks on the picture, boxes that are some."""
    edge = torch.tensor([width, height])
    if POINTS in given:
        points, labels = given[POINTS], given[LABELS]
        if points.shape[:2] != labels.shape:
            raise ValueError(
                f"a record's point_labels must be one for each point, got {list(labels.shape)} for "
                f"{list(points.shape[:2])}"
            )
        if ((points < 0) | (points > edge.to(points.device))).any():
            raise ValueError(f"a click lies outside its picture of {width}×{height} pixels")
    if BOXES in given and (given[BOXES][:, :2] >= given[BOXES][:, 2:]).any():
        raise ValueError("a box must go from its upper left to its lower right corner")
