"""One experiment with Segment Anything: ranges measured on drawn scenes with prompts, then both models asked
for the objects of other pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from ..common.monitor import Monitor
from ..models import Model
from ..pipeline import quantize
from ..prompting import (
    CocoPictures,
    KnownAnswers,
    Labelled,
    PromptScores,
    calibration_batches,
    drawn_scenes,
    measure_prompts,
    signs_of_collapse,
)
from ..quantized.result import QuantizeResult
from ..recipes.recipe import Recipe
from .measure import Cancel, Progress, part_of
from .samples import CALIBRATION_SEEDS

SIDE = 256  # pixels of a scene that judges
LOOKED_AT = 2  # scenes by which a model that sees nothing any more is told


@dataclass(frozen=True)
class Tried:
    """How both models find the same objects. `signs`: sentences where the quantized one is of no use."""

    full: PromptScores
    quantized: PromptScores
    signs: tuple[str, ...] = ()

    def as_results(self) -> dict[str, dict[str, Any]]:
        """JSON-ready: {model: {measure: [mean, standard error or None], …}}."""
        return {name: figures(getattr(self, name)) for name in ("full", "quantized")}


def quantize_on_scenes(
    model: Model,
    recipe: Recipe,
    count: int,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> QuantizeResult:
    """Calibrated on `count` scenes that no bundled model was trained on. Raises Cancelled."""
    return quantize(model, calibrating_questions(model, count, seed), recipe, progress, cancel, seed)


def calibrating_questions(model: Model, count: int, seed: int = 0) -> list[list[dict]]:
    """Clicks and boxes on drawn scenes as `model` takes them, one a batch."""
    side = model.module.image_encoder.img_size
    return [*calibration_batches(side, drawn_scenes(count, side, CALIBRATION_SEEDS + seed))]


def judging_scenes(count: int) -> Counted:
    """The first held-out scenes."""
    return Counted(count, lambda: drawn_scenes(count, SIDE))


def judging_questions(model: Model, count: int, cancel: Cancel | None = None) -> Iterator[list[dict]]:
    """Clicks and boxes on the first held-out scenes as `model` takes them, one a batch. Raises Cancelled."""
    monitor = Monitor(cancel=cancel)
    for batch in calibration_batches(model.module.image_encoder.img_size, judging_scenes(count)):
        monitor.check()
        yield batch


def judging_photographs(path: str, count: int) -> Counted:
    """The first pictures of a folder or zip with COCO's json file in it. ValueError for what is none."""
    pictures = CocoPictures(path)
    return Counted(min(count, len(pictures)), lambda: islice(iter(pictures), count))


@dataclass(frozen=True)
class Counted:
    """Pictures that can be gone through again and again, and how many they are."""

    count: int
    pictures: Callable[[], Iterable[Labelled]]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all pixels and masks, by which the same pictures are known again."""
        digest = hashlib.sha256()
        for labelled in self:
            digest.update(f"{labelled.picture.mode} {labelled.picture.size}".encode())
            digest.update(labelled.picture.tobytes())
            for mask in labelled.masks:
                digest.update(mask.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return iter(self.pictures())


def compare_on(
    full: object,
    quantized: object,
    pictures: Iterable[Labelled],
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Tried:
    """Both models, or what asks them, on the objects of `pictures`.

    Raises Cancelled, NotFinite where a model gives NaN, ValueError where there is no object.
    """
    signs = signs_of_collapse(quantized, [scene.picture for scene in drawn_scenes(LOOKED_AT, SIDE)])
    known = KnownAnswers()
    scores = [
        measure_prompts(full, pictures, None, part_of(progress, 0, 0.4), cancel, known),
        measure_prompts(quantized, pictures, known, part_of(progress, 0.4, 1), cancel),
    ]
    return Tried(*scores, signs)


def figures(scores: PromptScores) -> dict[str, Any]:
    """JSON-ready: what was counted, and means with their standard errors."""
    return {
        name: value if isinstance(value, int) else [value.mean, value.error]
        for name, value in scores.items()
        if value is not None
    }
