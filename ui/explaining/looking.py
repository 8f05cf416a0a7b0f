"""Behind the activations page: tensors of models, and which layers cause the final error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vitq_core as vq
from vitq_core.experiment.measure import Cancel, Progress
from vitq_core.experiment.tensors import JUDGED, PICTURES, Attempt, Tensors, attempt, errors_alone, tensors_of

from ..model_store import ModelStore
from ..parts.cache import Cache
from ..parts.memory import MB
from .layers import RelevanceBench
from .scoring import Scoring

KEPT_ERRORS = 64


class Looking:
    """Shared by everybody, keyed by models, pictures and settings."""

    def __init__(self, store: ModelStore, relevance: RelevanceBench):
        self.store, self.relevance = store, relevance
        self._tensors: Cache[Tensors] = store.memory.cache(weigh=lambda kept: kept.bytes / MB)
        self._errors: Cache[dict[str, float]] = Cache(KEPT_ERRORS)

    def tensors(self, scoring: Scoring, cancel: Cancel | None = None) -> Tensors:
        """Of a few of its pictures; one forward pass of a copy, which waits for no run."""
        return self._tensors.get_or_make(scoring, lambda: self._look(scoring, cancel))

    def _look(self, scoring: Scoring, cancel: Cancel | None) -> Tensors:
        with self.store.uploads.read(scoring.uploads):
            pictures = self.relevance.batches(scoring, PICTURES, None, cancel)
            return tensors_of(self.store.apart(scoring.model), pictures)

    def known_errors(self, scoring: Scoring, method: str, bits: int) -> dict[str, float] | None:
        """What `errors` gave before."""
        return self._errors.get((scoring, method, bits))

    def errors(
        self,
        scoring: Scoring,
        method: str,
        bits: int,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, float]:
        """{layer: how far the answers move when it alone is quantized}. Raises vq.Cancelled."""
        key = (scoring, method, bits)
        return self._errors.get_or_make(key, lambda: self._measure(*key, progress, cancel))

    def _measure(
        self, scoring: Scoring, method: str, bits: int, progress: Progress | None, cancel: Cancel | None
    ) -> dict[str, float]:
        with self.store.computing(scoring.uploads):
            pictures = self.relevance.batches(scoring, JUDGED, progress, cancel)
            recipe = vq.recipe(method, bits, bits)
            return errors_alone(self.store.model(scoring.model), pictures, recipe, progress, cancel)

    def attempt(
        self, scoring: Scoring, site: str, method: str, bits: int, moved: Mapping[str, Any]
    ) -> Attempt:
        """A tensor through the quantizer that the method has for it. KeyError for what is no site."""
        tensors = self.tensors(scoring)
        return attempt(tensors, tensors.sites[site], vq.recipe(method, bits, bits, **moved), bits)
