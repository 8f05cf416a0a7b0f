"""The pictures that can be explained: of a run, those whose answer changed first, or simply held-out ones."""

from __future__ import annotations

from typing import Any

from PIL import Image

from vitq_core.experiment.measure import name_of
from vitq_core.experiment.samples import Sample

from ..explaining.explained import GONE, Question
from ..parts import markup
from ..parts.forms import at
from ..parts.outcome import Outcome
from ..parts.settings import RunSettings
from ..parts.thumbnails import GALLERY_LIMIT, small, thumbnails
from ..workbench import Workbench

UNQUANTIZED = "Test pictures. Once something is quantized, those whose answer changed come first."

EMPTY = "There is no picture in the gallery yet; press Show test pictures first."


class Gallery:
    """`settings` with a table of bits stand for a run, those without one for pictures alone."""

    def __init__(self, bench: Workbench):
        self.bench = bench

    def note(self, settings: RunSettings) -> str:
        outcome = self.bench.outcome(settings) if settings.table else None
        return markup.gallery_note(outcome) if outcome else markup.note(UNQUANTIZED)

    def pictures(self, settings: RunSettings) -> list[tuple[Image.Image, str]]:
        """(thumbnail, caption) of each. Raises ValueError where the run is no longer in memory."""
        if settings.table:
            return thumbnails(self._outcome(settings))
        samples = self.bench.relevance.samples(settings)
        return [(small(s.read()), self.truth(s, settings.model) or s.name) for s in samples]

    def truth(self, sample: Sample, model_id: str) -> str | None:
        classes = self.bench.relevance.frame(model_id).classes
        return None if sample.label is None else name_of(sample.label, classes)

    def question(self, settings: RunSettings | None, index: Any) -> Question:
        """About the picture at a place of the gallery. ValueError where nothing is there."""
        if settings is None:
            raise ValueError(EMPTY)
        sample = self.sample(settings, index)
        quantized = settings if settings.table else None
        where, truth = ("sample", settings, index), self.truth(sample, settings.model)
        return Question(settings.model, where, sample.name, truth, quantized=quantized)

    def sample(self, settings: RunSettings, index: int) -> Sample:
        if not settings.table:
            return at(self.bench.relevance.samples(settings), index)
        outcome = self._outcome(settings)
        return outcome.reference.samples[at(outcome.order[:GALLERY_LIMIT], index)]

    def _outcome(self, settings: RunSettings) -> Outcome:
        outcome = self.bench.outcome(settings)
        if outcome is None:
            raise ValueError(GONE)
        return outcome
