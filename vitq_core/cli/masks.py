"""Behind `vitq segment`: prompts from a command line, and masks as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

import vitq_core as vq
from vitq_core.experiment import RunLengths

from .ending import reading_input
from .pictures import SEGMENTS, opened
from .targets import any_model
from .working import Work

NOTHING = "say what to outline: --point X,Y, --box X0,Y0,X1,Y1 or --everything"


@dataclass(frozen=True)
class Question:
    """`prompts`: one for each object; none for everything, with clicks `scattered` as said."""

    picture: Image.Image
    prompts: tuple[vq.Prompt, ...]
    scattered: Mapping[str, int]

    @classmethod
    def of(
        cls,
        picture: str,
        points: Sequence[str] | None,
        boxes: Sequence[str] | None,
        everything: bool,
        points_per_side: int | None,
        min_region: int | None,
    ) -> Question:
        """ValueError for a picture that cannot be read, and for prompts that mean nothing."""
        if everything and (points or boxes):
            raise ValueError("--everything needs no --point and no --box; leave them out")
        if not everything and not points and not boxes:
            raise ValueError(NOTHING)
        scattered = {"points_per_side": points_per_side, "min_region": min_region}
        scattered = {name: value for name, value in scattered.items() if value is not None}
        if scattered and not everything:
            option = next(iter(scattered)).replace("_", "-")
            raise ValueError(f"--{option} does nothing without --everything; leave it out")
        if points and boxes and len(boxes) > 1:
            raise ValueError("points belong to one object: give them with one --box, or several boxes alone")
        prompts = _prompts([_point(each) for each in points or ()], [_box(each) for each in boxes or ()])
        (sample,) = opened([picture])
        return cls(sample.read(), prompts, scattered)


def _prompts(
    points: Sequence[tuple[tuple[float, float], int]], boxes: Sequence[tuple[float, ...]]
) -> tuple[vq.Prompt, ...]:
    if not points:
        return tuple(vq.Prompt(box=box) for box in boxes)
    places, labels = zip(*points, strict=True)
    return (vq.Prompt(places, labels, boxes[0] if boxes else None),)


def _point(said: str) -> tuple[tuple[float, float], int]:
    values = _numbers(said)
    if len(values) not in (2, 3) or (len(values) == 3 and values[2] not in (0, 1)):
        raise ValueError(f"--point is X,Y, or X,Y,0 for one beside the object, got {said!r:.80}")
    return (values[0], values[1]), int(values[2]) if len(values) == 3 else 1


def _box(said: str) -> tuple[float, ...]:
    values = _numbers(said)
    if len(values) != 4:
        raise ValueError(f"--box is X0,Y0,X1,Y1 in pixels, got {said!r:.80}")
    return tuple(values)


def _numbers(said: str) -> list[float]:
    """None where something else stands there."""
    try:
        return [float(part) for part in said.split(",")]
    except ValueError:
        return []


@dataclass(frozen=True)
class Masks:
    """Of a picture of `size` (height, width): run lengths, and what the model believes their IoUs to be."""

    size: tuple[int, int]
    runs: Sequence[RunLengths]
    beliefs: Sequence[float]

    def rows(self) -> list[tuple[Any, ...]]:
        boxes = [", ".join(map(str, _around(runs.mask()))) for runs in self.runs]
        numbers = range(1, len(self.runs) + 1)
        areas = [runs.area for runs in self.runs]
        return list(zip(numbers, areas, boxes, self.beliefs, strict=True))

    def document(self) -> dict[str, Any]:
        """JSON-ready, masks as COCO has them."""
        objects = [
            {
                "segmentation": runs.as_coco(),
                "area": runs.area,
                "box": _around(runs.mask()),
                "believed_iou": belief,
            }
            for runs, belief in zip(self.runs, self.beliefs, strict=True)
        ]
        return {"height": self.size[0], "width": self.size[1], "objects": objects}

    def write(self, file: Path) -> None:
        if file.suffix.lower() == ".json":
            file.write_text(json.dumps(self.document(), indent=1) + "\n")
        elif len(self.runs) == 1:
            Image.fromarray(self.runs[0].mask()).save(file)
        else:
            Image.fromarray(self._numbered()).save(file)

    def _numbered(self) -> ndarray:
        """[H, W], the number of the object at each pixel, 0 for none; small ones lie on top."""
        numbered = np.zeros(self.size, np.uint8 if len(self.runs) < 256 else np.uint16)
        for index in sorted(range(len(self.runs)), key=lambda each: -self.runs[each].area):
            numbered[self.runs[index].mask()] = index + 1
        return numbered


def _around(mask: ndarray) -> list[int]:
    """(x0, y0, x1, y1), x1 and y1 just outside; all 0 of an empty mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns[0]), int(rows[0]), int(columns[-1] + 1), int(rows[-1] + 1)]


def answered(work: Work, name: str, question: Question, device: str | None) -> Masks:
    """Raises ValueError for prompts outside the picture and a model that is no Segment Anything."""
    target = any_model(name, work, device)
    if target.model.info.task != SEGMENTS:
        known = ", ".join(info.id for info in vq.list_models() if info.task == SEGMENTS)
        raise ValueError(f"{name!r:.80} answers no prompts; take a Segment Anything, such as {known}")
    segmenter = vq.Segmenter(target.module)
    with reading_input():
        if question.prompts:
            return _pointed(segmenter, question)
        return _all(segmenter, question, work)


def _pointed(segmenter: vq.Segmenter, question: Question) -> Masks:
    answers = segmenter.segment(question.picture, question.prompts)
    masks = [answer.mask for answer in answers]
    beliefs = [float(answer.ious[answer.chosen]) for answer in answers]
    return Masks(masks[0].shape, [RunLengths.of(mask) for mask in masks], beliefs)


def _all(segmenter: vq.Segmenter, question: Question, work: Work) -> Masks:
    found = vq.segment_everything(
        segmenter, question.picture, **question.scattered, progress=work.progress, cancel=work.stop
    )
    beliefs = [float(part.predicted_iou) for part in found.parts]
    return Masks(found.size, [RunLengths.of(mask) for mask in found.masks()], beliefs)
