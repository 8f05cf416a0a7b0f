"""The pictures that can be explained: of a run, those whose answer changed first, or simply held-out ones."""

from __future__ import annotations

from typing import Any

from PIL import Image

from vitq_core.experiment.measure import Cancel, name_of, opened
from vitq_core.experiment.samples import Sample

from ..explaining.explained import GONE, Question
from ..parts import markup
from ..parts.forms import at
from ..parts.outcome import Outcome
from ..parts.settings import PicturesOnly, RunSettings
from ..parts.thumbnails import GALLERY_LIMIT, small, thumbnails
from ..workbench import Workbench

UNQUANTIZED = "Test pictures. Once something is quantized, those whose answer changed come first."

EMPTY = "There is no picture in the gallery yet; press Show test pictures first."


class Gallery:
    """`settings` stand for a run whose result is in memory, or for pictures alone (`PicturesOnly`)."""

    def __init__(self, bench: Workbench):
        self.bench = bench

    def note(self, settings: RunSettings) -> str:
        outcome = self.bench.outcome(settings) if _quantized(settings) else None
        return markup.gallery_note(outcome) if outcome else markup.note(UNQUANTIZED)

    def pictures(self, settings: RunSettings, cancel: Cancel) -> list[tuple[Image.Image, str]]:
        """(thumbnail, caption) of each. ValueError where the run is not in memory; raises vq.Cancelled."""
        if _quantized(settings):
            return thumbnails(self._outcome(settings), cancel)
        read = opened(self.bench.relevance.samples(settings, cancel), cancel)
        return [(small(picture), self.truth(s, settings.model) or s.name) for s, picture in read]

    def truth(self, sample: Sample, model_id: str) -> str | None:
        classes = self.bench.relevance.frame(model_id).classes
        return None if sample.label is None else name_of(sample.label, classes)

    def question(self, settings: RunSettings | None, index: Any, cancel: Cancel) -> Question:
        """About the picture at a place of the gallery. ValueError where none is; raises vq.Cancelled."""
        if settings is None:
            raise ValueError(EMPTY)
        sample = self.sample(settings, index, cancel)
        quantized = settings if _quantized(settings) else None
        where, truth = ("sample", settings, index), self.truth(sample, settings.model)
        return Question(settings.model, where, sample.name, truth, quantized=quantized)

    def sample(self, settings: RunSettings, index: int, cancel: Cancel) -> Sample:
        if not _quantized(settings):
            return at(self.bench.relevance.samples(settings, cancel), index)
        outcome = self._outcome(settings)
        return outcome.reference.samples[at(outcome.order[:GALLERY_LIMIT], index)]

    def _outcome(self, settings: RunSettings) -> Outcome:
        outcome = self.bench.outcome(settings)
        if outcome is None:
            raise ValueError(GONE)
        return outcome


def _quantized(settings: RunSettings) -> bool:
    return not isinstance(settings, PicturesOnly)
