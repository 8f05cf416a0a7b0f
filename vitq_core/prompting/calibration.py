"""Pictures with known objects as what Segment Anything is calibrated on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..common.masks import innermost, tight_box
from ..pictures.longest_side import LongestSide
from .labelled import Labelled


def calibration_batches(side: int, pictures: Iterable[Labelled]) -> Iterator[list[dict[str, Any]]]:
    """One picture a batch, as ``Sam.forward`` takes it, with the longer side at ``side`` pixels: boxes around
    all objects of one, a click inside each of the next, by turns. Pictures without objects are left out.
    """
    prepare = LongestSide(side)
    for number, labelled in enumerate(each for each in pictures if len(each.masks)):
        image, (width, height) = prepare(labelled.picture), labelled.picture.size
        scale = torch.tensor([image.shape[2] / width, image.shape[1] / height])
        prompts = _boxes if number % 2 == 0 else _clicks
        yield [{"image": image, "original_size": (height, width), **prompts(labelled, scale)}]


def _boxes(labelled: Labelled, scale: Tensor) -> dict[str, Tensor]:
    corners = torch.tensor([tight_box(mask) for mask in labelled.masks], dtype=torch.float32)
    return {"boxes": corners * scale.repeat(2)}


def _clicks(labelled: Labelled, scale: Tensor) -> dict[str, Tensor]:
    points = torch.tensor([[innermost(mask)] for mask in labelled.masks], dtype=torch.float32)
    return {"point_coords": points * scale, "point_labels": torch.ones(points.shape[:2])}
