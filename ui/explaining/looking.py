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
Moved = tuple[tuple[str, Any], ...]  # options that somebody chose


class Looking:
    """Shared by everybody, keyed by models and settings."""

    def __init__(self, store: ModelStore, relevance: RelevanceBench):
        self.store, self.relevance = store, relevance
        self._tensors: Cache[Tensors] = store.memory.cache(weigh=lambda kept: kept.bytes / MB)
        self._errors: Cache[dict[str, float]] = Cache(KEPT_ERRORS)

    def tensors(self, model_id: str, cancel: Cancel | None = None) -> Tensors:
        """Of a few of the studio's own pictures; one forward pass of a copy, which waits for no run."""
        return self._tensors.get_or_make(model_id, lambda: self._look(model_id, cancel))

    def _look(self, model_id: str, cancel: Cancel | None) -> Tensors:
        pictures = self.relevance.batches(Scoring(model_id), PICTURES, None, cancel)
        return tensors_of(self.store.apart(model_id), pictures)

    def known_errors(self, model_id: str, method: str, bits: int) -> dict[str, float] | None:
        """What `errors` gave before."""
        return self._errors.get((model_id, method, bits))

    def errors(
        self,
        model_id: str,
        method: str,
        bits: int,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> dict[str, float]:
        """{layer: how far the answers move when it alone is quantized}. Raises vq.Cancelled."""
        key = (model_id, method, bits)
        return self._errors.get_or_make(key, lambda: self._measure(*key, progress, cancel))

    def _measure(
        self, model_id: str, method: str, bits: int, progress: Progress | None, cancel: Cancel | None
    ) -> dict[str, float]:
        with self.store.computing():
            pictures = self.relevance.batches(Scoring(model_id), JUDGED, progress, cancel)
            recipe = vq.recipe(method, bits, bits)
            return errors_alone(self.store.model(model_id), pictures, recipe, progress, cancel)

    def attempt(self, model_id: str, site: str, method: str, bits: int, moved: Mapping[str, Any]) -> Attempt:
        """A tensor through the quantizer that the method has for it. KeyError for what is no site."""
        tensors = self.tensors(model_id)
        return attempt(tensors, tensors.sites[site], vq.recipe(method, bits, bits, **moved), bits)
