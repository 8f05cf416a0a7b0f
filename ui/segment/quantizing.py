"""A quantized Segment Anything: calibrated on drawn scenes with prompts, then tried on other scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from PIL import Image
from torch import Tensor

import vitq_core as vq
from vitq_core.experiment import scenes
from vitq_core.experiment.measure import Cancel, Progress, part_of
from vitq_core.experiment.samples import CALIBRATION_SEEDS

from .answers import iou
from .settings import SamSettings

Batch = list[dict[str, Any]]

TRIED = range(1000, 1008)  # scenes that nobody is shown, of those no bundled model was trained on
TRIED_SIDE = 256
MADE = 0.8  # how much of a run is done when the scenes are tried
SAME = 1e-3  # share of its own size by which two pictures' embeddings must differ at least
COLLAPSED = "It sees every picture alike: its image encoder has collapsed. Choose more bits."
BLANK = "Its masks are all empty or all full. Choose more bits."


@dataclass(frozen=True)
class Tried:
    """Boxes around the objects of a few scenes, mean IoUs. `full`, `quantized`: with the drawn objects.

    `agreement`: of both models' masks; `changed` of `prompts` single clicks chose another candidate.
    `warning`: a sentence where the quantized model is of no use.
    """

    full: float
    quantized: float
    agreement: float
    changed: int
    prompts: int
    warning: str = ""


def quantize(
    model: vq.Model, settings: SamSettings, progress: Progress | None = None, cancel: Cancel | None = None
) -> vq.QuantizeResult:
    """Raises vq.Cancelled."""
    side = model.module.image_encoder.img_size
    given = list(batches(settings.calibration, settings.seed, side))
    return vq.quantize(
        model, given, settings.engine_recipe(), part_of(progress, 0.05, MADE), cancel, settings.seed
    )


def batches(count: int, seed: int, side: int) -> Iterator[list[dict[str, Any]]]:
    """Scenes with boxes and scenes with clicks in turn, one a batch, as `Sam.forward` takes them."""
    for number in range(count):
        scene = scenes.scene(number, CALIBRATION_SEEDS + seed, side)
        image = torch.from_numpy(scene.image).permute(2, 0, 1).float()
        prompts = _boxes(scene) if number % 2 == 0 else _clicks(scene)
        yield [{"image": image, "original_size": (side, side), **prompts}]


def _boxes(scene: scenes.Scene) -> dict[str, Tensor]:
    return {"boxes": torch.tensor([thing.box for thing in scene.objects], dtype=torch.float32)}


def _clicks(scene: scenes.Scene) -> dict[str, Tensor]:
    points = torch.tensor([[inside(thing.mask)] for thing in scene.objects], dtype=torch.float32)
    return {"point_coords": points, "point_labels": torch.ones(len(points), 1, dtype=torch.int64)}


def inside(mask: ndarray) -> tuple[float, float]:
    """A pixel of the mask as (x, y), the one nearest to its middle."""
    rows, columns = np.nonzero(mask)
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    return float(columns[nearest]) + 0.5, float(rows[nearest]) + 0.5


def try_scenes(
    full: vq.Segmenter,
    quantized: vq.Segmenter,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Tried:
    """Both models on a few scenes. Raises vq.Cancelled, and what a Segmenter raises where there is NaN."""
    report, rows, changed = part_of(progress, MADE, 1), [], []
    for done, number in enumerate(TRIED):
        if cancel is not None and cancel():
            raise vq.Cancelled("cancelled")
        report(done / len(TRIED), f"Trying both models on scene {done + 1} of {len(TRIED)}")
        scene = scenes.scene(number, scenes.HELD_OUT_SEED, TRIED_SIDE)
        picture = Image.fromarray(scene.image)
        rows += _rows(full, quantized, picture, scene)
        changed += _changes(full, quantized, picture, scene)
    means = [float(np.mean(column)) for column in list(zip(*rows, strict=True))[:3]]
    warning = collapse(quantized) or _blank([row[3] for row in rows])
    return Tried(*means, changed=sum(changed), prompts=len(changed), warning=warning)


def _rows(
    full: vq.Segmenter, quantized: vq.Segmenter, picture: Image.Image, scene: scenes.Scene
) -> list[tuple[float, float, float, float]]:
    """Of each object, asked for by its box: three IoUs, and how full the quantized model's mask is."""
    prompts = [vq.Prompt(box=thing.box) for thing in scene.objects]
    asked = zip(
        full.segment(picture, prompts), quantized.segment(picture, prompts), scene.objects, strict=True
    )
    return [
        (iou(a.mask, thing.mask), iou(b.mask, thing.mask), iou(a.mask, b.mask), float(b.mask.mean()))
        for a, b, thing in asked
    ]


def _changes(
    full: vq.Segmenter, quantized: vq.Segmenter, picture: Image.Image, scene: scenes.Scene
) -> list[bool]:
    """Of each object, asked for by one click: whether both models choose another candidate."""
    prompts = [vq.Prompt(points=(inside(thing.mask),), labels=(1,)) for thing in scene.objects]
    asked = zip(full.segment(picture, prompts), quantized.segment(picture, prompts), strict=True)
    return [a.chosen != b.chosen for a, b in asked]


def collapse(segmenter: vq.Segmenter) -> str:
    """A sentence where two different pictures have the same embedding."""
    first, second = (
        segmenter.opened(
            Image.fromarray(scenes.scene(number, scenes.HELD_OUT_SEED, TRIED_SIDE).image)
        ).embedding
        for number in TRIED[:2]
    )
    return COLLAPSED if bool((first - second).norm() <= SAME * first.norm()) else ""


def _blank(shares: Sequence[float]) -> str:
    return BLANK if all(share in (0.0, 1.0) for share in shares) else ""
