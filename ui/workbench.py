"""The workbench behind the page: loads, quantizes, measures and classifies, and remembers what is costly."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from PIL import Image

import vitq_core as vq

from .parts.cache import Cache
from .parts.jobs import Job
from .parts.measure import Batches, Cancel, Progress, Replay, last, part_of, recording, sorted_out
from .parts.outcome import Neighbours, Outcome, Pair, Reference
from .parts.settings import NO_EFFORT, RunSettings, a_name
from .parts.sources import Source
from .parts.user_sources import changed, choose_source
from .relevance.bench import RelevanceBench

MEMORY_MB = 1024
KEPT_DOWNLOADS = 8
KEPT_TEXTS = 64  # of a few kilobytes each

# How much of a run is done when both models' pictures are read, calibration begins, and measuring begins.
PARTS = (0.35, 0.4, 0.75)
LEARNING_PARTS = (0.08, 0.1, 0.96)


class Workbench:
    """Shared by everybody who uses this server; every entry is keyed by settings, none by person."""

    def __init__(self, memory_mb: float = MEMORY_MB):
        self._models: Cache[Any] = Cache(memory_mb, _megabytes)
        self._sources: Cache[Source] = Cache(8)
        self._references: Cache[Reference] = Cache(16)
        self._outcomes: Cache[Outcome] = Cache(memory_mb, _weight)
        # One computation at a time: hooks sit on shared models, and two would only share the processor.
        self.turn = RLock()
        self._downloads = tempfile.TemporaryDirectory(prefix="vitq-")
        self.relevance = RelevanceBench(self)
        self._texts = tempfile.TemporaryDirectory(prefix="vitq-texts-")

    def model(self, model_id: str) -> Any:
        return self._models.get_or_make(a_name(model_id), lambda: vq.load_model(model_id))

    def has_model(self, model_id: Any) -> bool:
        """Whether it needs no download: bundled, or in memory."""
        if not isinstance(model_id, str):
            return False
        bundled = any(info.id == model_id and info.bundled for info in vq.list_models())
        return bundled or self._models.get(model_id) is not None

    def outcome(self, settings: RunSettings) -> Outcome | None:
        """A result still in memory."""
        return self._outcomes.get(settings)

    def quantize(
        self, settings: RunSettings, progress: Progress | None = None, job: Job | None = None
    ) -> Outcome:
        """The result of `settings`, computed unless it is still in memory; raises vq.Cancelled.

        A `job` that is stopped while it learns gives what it has: an outcome whose settings say so.
        """
        with self.turn:
            outcome = self._outcomes.get(settings) or self._quantize(settings, progress, job or Job())
            self._outcomes.put(outcome.settings, outcome)
            return outcome

    def source(self, settings: RunSettings) -> Source:
        """The pictures that `settings` name; remembered, because listing a large folder takes seconds."""
        key = (settings.model, settings.pictures, settings.folder, settings.uploads, changed(settings.folder))
        return self._sources.get_or_make(key, lambda: choose_source(self.model(settings.model), settings))

    def reference(
        self, settings: RunSettings, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> Reference:
        """What the full-precision model says about the held-out pictures of `settings`."""
        key = (settings.model, self.source(settings).key, settings.held_out)
        with self.turn:
            return self._references.get_or_make(key, lambda: self._refer(settings, progress, cancel))

    def classify(self, settings: RunSettings, picture: Image.Image) -> Pair | Neighbours:
        """Both models' answers for a picture; quantizes first where the result is no longer in memory."""
        outcome = self.quantize(settings)
        batch = outcome.model.preprocess(picture)[None]
        with torch.inference_mode():
            full, quantized = (module(batch)[0] for module in (outcome.model.module, outcome.result.model))
        return outcome.compare(full, quantized)

    def download(self, settings: RunSettings) -> Path | None:
        """A zip of the quantized model; None where the result is no longer in memory."""
        outcome = self.outcome(settings)
        if outcome is None:
            return None
        folder = _new_folder(self._downloads.name, KEPT_DOWNLOADS)
        vq.save_quantized(outcome.result, folder / settings.slug)
        archive = shutil.make_archive(str(folder / settings.slug), "zip", folder, settings.slug)
        shutil.rmtree(folder / settings.slug)
        return Path(archive)

    def text_file(self, name: str, text: str) -> Path:
        """A small file to download, in a folder of its own."""
        path = _new_folder(self._texts.name, KEPT_TEXTS) / name.replace("/", "-")
        path.write_text(text)
        return path

    def _quantize(self, settings: RunSettings, progress: Progress | None, job: Job) -> Outcome:
        recipe, learns = settings.complete.engine_recipe(), settings.effort != NO_EFFORT
        read, calibrated, done = LEARNING_PARTS if learns else PARTS
        part_of(progress, 0, 1)(0.0, "Loading the model")
        model, source = self.model(settings.model), self.source(settings)
        reference = self.reference(settings, part_of(progress, 0.05, read), job)
        part_of(progress, read, 1)(0.0, "Reading calibration pictures")
        wanted = source.calibration(settings.calibration, settings.seed)
        usable, left_out = sorted_out(wanted, job)
        result = vq.quantize(
            model, Batches(usable, model.preprocess, cancel=job), recipe, seed=settings.seed,
            cancel=job, progress=part_of(progress, calibrated, done), watch=job.told,
        )  # fmt: skip
        loader = Batches(reference.samples, model.preprocess, cancel=job.dropped)
        # Recorded features lack the tokens, so a model without classes is run again.
        replay = Replay(reference.logits) if model.info.task != "features" else model.module
        with recording(result.model) as seen:
            measuring = part_of(progress, done, 1)
            evaluation = vq.evaluate(result.model, loader, replay, progress=measuring, cancel=job.dropped)
        logits = last(seen, evaluation.n)
        settings = _reached(settings, result.report, job)
        return Outcome(
            settings, model, result, reference, evaluation, logits, source.about, source.warning,
            tuple(left_out),
        )  # fmt: skip

    def _refer(self, settings: RunSettings, progress: Progress | None, cancel: Cancel | None) -> Reference:
        part_of(progress, 0, 1)(0.0, "Reading held-out pictures")
        model, source = self.model(settings.model), self.source(settings)
        wanted = source.held_out(settings.held_out)
        samples, left_out = sorted_out(wanted, cancel)
        loader = Batches(samples, model.preprocess, cancel=cancel)
        with recording(model.module) as seen:
            evaluation = vq.evaluate(model.module, loader, progress=part_of(progress, 0.3, 1), cancel=cancel)
        logits = last(seen, evaluation.n)
        return Reference(samples, logits, evaluation, tuple(left_out))


def _reached(settings: RunSettings, report: Any, job: Job) -> RunSettings:
    """The settings of the result: how far it came, where it was stopped."""
    return replace(settings, learned=(len(report.units), job.told.total) if report.cancelled else None)


def _new_folder(parent: str, kept: int) -> Path:
    """A folder in `parent`, which forgets all but the newest `kept`."""
    folders = sorted(Path(parent).iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[: -kept + 1]:
        shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=parent))


def _weight(outcome: Outcome) -> float:
    """A quantized model holds its weights twice: as they were and as their codes stand for them."""
    return 2 * _megabytes(outcome.model)


def _megabytes(model: Any) -> float:
    return max(model.info.params * 4 / 2**20, 1)
