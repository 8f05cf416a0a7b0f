"""How well a Sam finds the objects of scenes, asked as a person would: through the package's predictor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from ....common.masks import innermost, iou, tight_box
from .scene_maps import NOTHING, SceneMaps


@dataclass(frozen=True)
class Found:
    """Mean IoUs over `objects` of `scenes`: after one `click` on the most interior pixel, of the candidate
    with the highest predicted IoU, and of the `best` candidate; of the single answer to a tight `box`."""

    click: float
    best: float
    box: float
    objects: int
    scenes: int


def found(sam: Sam, scenes: SceneMaps) -> Found:
    """Of all listed objects."""
    ious = np.array([each for index in range(len(scenes)) for each in _of(sam, scenes, index)])
    click, best, box = ious.mean(0)
    return Found(float(click), float(best), float(box), len(ious), len(scenes))


def _of(sam: Sam, scenes: SceneMaps, index: int) -> Iterator[tuple[float, float, float]]:
    predictor = SamPredictor(sam)
    predictor.set_image(scenes.images[index].permute(1, 2, 0).numpy())
    owners = scenes.owners[index].numpy()
    for number in np.unique(owners[owners != NOTHING]):
        mask = owners == number
        candidates, predicted, _ = predictor.predict(np.array([innermost(mask)]), np.array([1]))
        single, _, _ = predictor.predict(box=np.array(tight_box(mask)), multimask_output=False)
        ious = [iou(candidate, mask) for candidate in candidates]
        yield ious[int(predicted.argmax())], max(ious), iou(single[0], mask)
