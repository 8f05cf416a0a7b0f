"""A quantized Segment Anything: calibrated on drawn scenes with prompts, then measured on others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import vitq_core as vq
from vitq_core.experiment.measure import Cancel, Progress, part_of
from vitq_core.experiment.samples import CALIBRATION_SEEDS

from .settings import SamSettings

SCENES, SIDE = 8, 256  # that measure, of those no bundled model was trained on
MADE = 0.8  # how much of a run is done when they do


@dataclass(frozen=True)
class Tried:
    """How both models find the objects of a few scenes. `signs`: sentences where the quantized one is of no
    use any more."""

    full: vq.prompting.PromptScores
    quantized: vq.prompting.PromptScores
    signs: tuple[str, ...] = ()


def quantize(
    model: vq.Model, settings: SamSettings, progress: Progress | None = None, cancel: Cancel | None = None
) -> vq.QuantizeResult:
    """Raises vq.Cancelled."""
    side = model.module.image_encoder.img_size
    scenes = vq.prompting.drawn_scenes(settings.calibration, side, CALIBRATION_SEEDS + settings.seed)
    given = [*vq.prompting.calibration_batches(side, scenes)]
    return vq.quantize(
        model, given, settings.engine_recipe(), part_of(progress, 0.05, MADE), cancel, settings.seed
    )


def try_scenes(
    full: object, quantized: object, progress: Progress | None = None, cancel: Cancel | None = None
) -> Tried:
    """Both models, or what asks them, on a few scenes. Raises vq.Cancelled, NotFinite where there is NaN."""
    half = (1 + MADE) / 2
    pictures = [scene.picture for scene in islice(vq.prompting.drawn_scenes(SCENES, SIDE), 2)]
    signs = vq.prompting.signs_of_collapse(quantized, pictures)
    scores = [
        vq.prompting.measure_prompts(model, vq.prompting.drawn_scenes(SCENES, SIDE), reference, part, cancel)
        for model, reference, part in (
            (full, None, part_of(progress, MADE, half)),
            (quantized, full, part_of(progress, half, 1)),
        )
    ]
    return Tried(*scores, signs)
