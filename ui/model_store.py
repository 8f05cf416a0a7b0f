"""The models and pictures that this server has in memory, shared by everybody who uses it."""

from __future__ import annotations

from threading import RLock
from typing import Any

import vitq_core as vq
from vitq_core.experiment.folders import changed
from vitq_core.experiment.samples import Source

from .parts.cache import Cache
from .parts.settings import RunSettings, a_name
from .parts.user_sources import choose_source


class ModelStore:
    """Models by their ids, sources of pictures by the settings that name them."""

    def __init__(self, memory_mb: float):
        self._models: Cache[Any] = Cache(memory_mb, megabytes)
        self._sources: Cache[Source] = Cache(8)
        # One computation at a time: hooks sit on shared models, and two would only share the processor.
        self.turn = RLock()

    def model(self, model_id: str) -> Any:
        return self._models.get_or_make(a_name(model_id), lambda: vq.load_model(model_id))

    def has_model(self, model_id: Any) -> bool:
        """Whether it needs no download: bundled, or in memory."""
        if not isinstance(model_id, str):
            return False
        bundled = any(info.id == model_id and info.bundled for info in vq.list_models())
        return bundled or self._models.get(model_id) is not None

    def source(self, settings: RunSettings) -> Source:
        """The pictures that `settings` name; remembered, because listing a large folder takes seconds."""
        key = (settings.model, settings.pictures, settings.folder, settings.uploads, changed(settings.folder))
        return self._sources.get_or_make(key, lambda: choose_source(self.model(settings.model), settings))


def megabytes(model: Any) -> float:
    return max(model.info.params * 4 / 2**20, 1)
