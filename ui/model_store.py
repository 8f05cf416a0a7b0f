"""The models and pictures that this server has in memory, shared by everybody who uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import vitq_core as vq
from vitq_core.experiment import private_copy
from vitq_core.experiment.folders import changed
from vitq_core.experiment.measure import Cancel, Progress
from vitq_core.experiment.samples import Source, forget_pictures

from .parts import own_models
from .parts.cache import Cache
from .parts.hub_models import look_up
from .parts.memory import MB, Memory
from .parts.model_list import ALL, offered
from .parts.server_folder import ServerFolder
from .parts.settings import RunSettings, a_name
from .parts.turn import Turn
from .parts.uploads import Uploads
from .parts.user_sources import check_uploads, choose_source

KEPT_SOURCES = 8  # lists of files, a few hundred kilobytes each


class ModelStore:
    """Models by their ids, sources of pictures by the settings that name them."""

    def __init__(self, memory: Memory):
        self.memory = memory
        memory.forget_first(forget_pictures)
        self.files = ServerFolder()
        self.uploads = Uploads(self.files.folder("uploads"))
        self._models: Cache[Any] = memory.cache(weigh=megabytes)
        self._sources: Cache[Source] = memory.cache(KEPT_SOURCES)
        # One computation at a time: hooks sit on shared models, and two would only share the processor.
        self.turn = Turn()
        self._result_locks: WeakKeyDictionary[Any, Lock] = WeakKeyDictionary()
        self._computing = 0

    @contextmanager
    def computing(self, uploads: tuple[str, ...] = ()) -> Iterator[None]:
        """The server's one computation, which reads `uploads`; then memory and disk are within limits."""
        with self.turn, self.uploads.read(uploads):
            self._computing += 1
            try:
                yield
            finally:
                self._computing -= 1
                if not self._computing:  # not a part of another one, whose intermediate values count too
                    self.memory.keep_within()
        self.uploads.sweep()

    def busy(self) -> bool:
        """Whether a computation is under way, for which another one waits."""
        return self._computing > 0

    def result_lock(self, result: Any) -> Lock:
        """A finished result is packed without waiting for the turn, and never while its own model runs."""
        return self._result_locks.setdefault(result.model, Lock())

    def model(self, model_id: str) -> Any:
        load = own_models.bring_again if str(model_id).startswith(own_models.PREFIX) else vq.load_model
        return self._models.get_or_make(a_name(model_id), lambda: load(model_id))

    def fetch(self, model_id: str, progress: Progress, cancel: Cancel) -> Any:
        """The model, downloaded where it is not here; `progress` hears of megabytes. Raises vq.Cancelled.

        It does not wait for runs; what is kept in memory is bounded after it as after them.
        """
        model = self._models.get(a_name(model_id)) or vq.load_model(
            model_id, progress=progress, cancel=cancel
        )
        return self._keep(model_id, model)

    def bring(self, path: Path, said: Mapping[str, Any], progress: Progress, cancel: Cancel) -> Any:
        """The model of a visitor's file or folder, of which `vq.load_model` is told what is `said`."""
        with self.uploads.read((str(path),)):
            model = own_models.bring(path, said, progress, cancel)
        return self._keep(model.info.id, self._models.get(model.info.id) or model)

    def _keep(self, model_id: str, model: Any) -> Any:
        self._models.put(model_id, model)
        if not self._computing:
            self.memory.keep_within()
        return model

    def named(self, model_id: Any) -> Any:
        """What a program named; of a model of the hub with the commit that it means now, its card looked up.

        Raises ValueError and VitqError for one that cannot be had or used. What is no name of the hub stays
        as it is, for the checks of the request.
        """
        unlisted = isinstance(model_id, str) and "/" in model_id and offered(model_id, ALL) is None
        return look_up(model_id).id if unlisted else model_id

    def apart(self, model_id: str) -> Any:
        """The model with nobody's hooks on it, the weights shared: for a look that waits for no run."""
        model = self.model(model_id)
        return replace(model, module=private_copy(model.module))

    def has_model(self, model_id: Any) -> bool:
        """Whether it needs no download: bundled, or in memory."""
        if not isinstance(model_id, str):
            return False
        info = offered(model_id, ALL)
        return (info is not None and info.bundled) or self._models.get(model_id) is not None

    def source(
        self, settings: RunSettings, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> Source:
        """The pictures that `settings` name; remembered, because listing a large folder takes seconds.

        `progress` and `cancel` are for the listing, which raises vq.Cancelled.
        """
        check_uploads(settings)
        key = (settings.model, settings.pictures, settings.folder, settings.uploads, changed(settings.folder))
        return self._sources.get_or_make(
            key, lambda: choose_source(self.model(settings.model), settings, progress, cancel)
        )


def megabytes(model: Any) -> float:
    return max(model.info.params * 4 / MB, 1)
