"""The workbench behind the page: loads, quantizes, measures and classifies, and remembers what is costly."""

import hashlib
import logging
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from weakref import finalize, ref

import torch
from PIL import Image

import vitq_core as vq
from vitq_core.experiment.likeness import watching
from vitq_core.experiment.measure import (
    Cancel,
    Progress,
    part_of,
)
from vitq_core.experiment.run import Reference, quantize_and_measure, refer
from vitq_core.experiment.runs import RunRecord, RunStore, digest_of, record_of_answers

from .explaining.affording import Affording
from .explaining.layers import RelevanceBench
from .explaining.looking import Looking
from .model_store import ModelStore, megabytes
from .parts.cache import Cache
from .parts.examples import EXAMPLES, examples
from .parts.forms import opening_settings
from .parts.jobs import Job
from .parts.memory import Memory, give_back, tensors_mb
from .parts.outcome import Neighbours, Outcome, Pair
from .parts.settings import NO_EFFORT, RunSettings, StoppedRun
from .parts.stored_outcome import load_outcome, run_settings, stored_settings
from .parts.visitors import EVERYBODY, Visitors, seen_by
from .running.accelerator import CALIBRATING, LONG, QUICK, carry_out
from .running.sources import Source
from .running.sweeps import Sweeps


class Packable(Protocol):
    """A result with the settings that it was made by, which name its file (``slug``)."""

    settings: Any
    result: vq.QuantizeResult


@dataclass(frozen=True)
class Kind:
    """Of runs that belong to the server. `make(wanted, owner, progress, job)` makes one and says what it was;
    `plan(model, recipe, bits, **data)`: what a sweep wants, as JSON, where sweeps have such runs, with `data`
    about the pictures.
    """

    make: Callable[..., Any]
    plan: Callable[..., dict[str, Any]] | None = None


@dataclass(frozen=True)
class Reached:
    """What names the result of a run. `known`: it was there before."""

    settings: RunSettings
    known: bool = False


log = logging.getLogger(__name__)
OPENING = Path(__file__).parent / "stored" / "opening"
KEPT_DOWNLOADS = 8
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
# Kinds of runs: in sweeps, of a picture alone and of a picture and prompts; one whose result a page shows.
ANSWERS, MASKS, ALONE = "answers", "masks", "alone"
GPU_SECONDS = {NO_EFFORT: CALIBRATING, "quick": QUICK}
KEPT_TEXTS = 64  # of a few kilobytes each

# How much of a run is done when the held-out pictures are answered in full precision.
READ, LEARNING_READ = 0.35, 0.08


class Workbench(ModelStore):
    """Shared by everybody who uses this server; every entry is keyed by settings, none by person."""

    def __init__(self, memory: Memory | None = None):
        super().__init__(memory or Memory())
        self._references: Cache[Reference] = self.memory.cache(weigh=lambda kept: tensors_mb(kept.logits))
        self._outcomes: Cache[Outcome] = self.memory.cache(weigh=_weight)
        self._downloads = self.files.folder("downloads")
        self._texts = self.files.folder("texts")
        self._packed: Cache[tuple[ref[Outcome], Path]] = Cache(KEPT_DOWNLOADS)
        self.relevance = RelevanceBench(self, self.outcome)
        self.affording = Affording(self.relevance)
        self.looking = Looking(self, self.relevance)
        self.runs = RunStore()
        self.visitors, self.sweeps = Visitors(), Sweeps(self.make)
        self.kinds = {ANSWERS: Kind(self._make, _plan), ALONE: Kind(self._make_alone)}
        self.sources: dict[type, Source] = {}  # of what can be exported, by its settings
        self._weights: Cache[str] = Cache(KEPT_TEXTS)

    def keep(self, record: RunRecord | None, owner: str = EVERYBODY) -> RunRecord | None:
        """Remember a run as this owner's, once: what is kept of it.

        None where that cannot be, of which the log has the reason: its numbers are on the page all the same.
        """
        if record is None:
            return None
        try:
            kept = self.runs.find(record.key, (owner,))
            if kept is None:
                kept = record if record.owner == owner else record.for_owner(owner)
                self.runs.add(kept)
        except vq.StorageError as error:
            log.warning("a run was not kept: %s", error)
            return None
        return kept

    def known(self, settings: RunSettings, owner: str = EVERYBODY) -> RunRecord | None:
        """A run of this owner's that has the same numbers; reads the list of pictures, and the weights."""
        with self.computing(settings.uploads):
            source, weights = self.source(settings), self.weights_of(settings.model)
        return self.runs.find(settings.asked().key(weights, source.key), (owner,))

    def runs_of(self, owner: str) -> list[RunRecord]:
        """Newest first, those that this owner may see, and examples of what is not among them. Raises
        StorageError.
        """
        own = self.runs.all(seen_by(owner))
        known = {record.key for record in own}
        return [*own, *(example for example in examples() if example.key not in known)]

    def run(self, run_id: Any, owner: str) -> RunRecord | None:
        """One of those that this owner may see. Raises StorageError."""
        if not isinstance(run_id, str):
            return None
        record = next((each for each in examples() if each.id == run_id), None) or self.runs.get(run_id)
        return record if record and record.owner in (EXAMPLES, *seen_by(owner)) else None

    def weights_of(self, model_id: str) -> str:
        """SHA-256 of a model's weights."""
        return self._weights.get_or_make(
            model_id, lambda: digest_of(self.model(model_id).module.state_dict())
        )

    def make(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> Any:
        """A run that belongs to the server; raises as a run does. Of a sweep: unless this owner has it."""
        return self.kinds[wanted["kind"]].make(wanted, owner, progress, job)

    def _make(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> None:
        settings = run_settings(wanted["settings"])
        if self.known(settings, owner) is None:
            record = self.quantize(settings, progress, job).record
            self.keep(record and replace(record, name=wanted["title"]), owner)

    def _make_alone(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> Reached:
        settings = run_settings(wanted["settings"])
        known = self.outcome(settings) is not None
        outcome = self.quantize(settings, progress, job)
        self.keep(outcome.record, owner)
        return Reached(outcome.settings, known)

    def outcome(self, settings: RunSettings) -> Outcome | None:
        """A result still in memory."""
        return self._outcomes.get(settings)

    def opening(self) -> Outcome | None:
        """The result that is stored with the studio, where it is one of the settings the page opens with."""
        settings = opening_settings()
        if stored_settings(OPENING) != settings:
            return None
        return self._outcomes.get_or_make(
            settings, lambda: load_outcome(OPENING, self.model(settings.model), self.source(settings))
        )

    def quantize(
        self, settings: RunSettings, progress: Progress | None = None, job: Job | None = None
    ) -> Outcome:
        """The result of `settings`, computed unless it is still in memory; raises vq.Cancelled.

        A `job` that is stopped while it learns gives what it has: an outcome whose settings say so.
        """
        with self.computing(settings.uploads):
            outcome = self._outcomes.get(settings)
            if outcome is None:
                try:
                    outcome = self._quantize(settings.complete, progress, job or Job())
                finally:
                    give_back()
            self._outcomes.put(outcome.settings, outcome)
            return outcome

    def reference(
        self, settings: RunSettings, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> Reference:
        """What the full-precision model says about the held-out pictures of `settings`."""
        key = (settings.model, self.source(settings, progress, cancel).key, settings.held_out)
        with self.computing(settings.uploads):
            return self._references.get_or_make(key, lambda: self._refer(settings, progress, cancel))

    def classify(self, settings: RunSettings, picture: Image.Image) -> Pair | Neighbours:
        """Both models' answers for a picture; quantizes first where the result is no longer in memory."""
        outcome = self.quantize(settings)
        batch, module = outcome.model.preprocess(picture)[None], outcome.model.module
        # Nobody else's pictures may pass through the watched module.
        with self.turn, self.result_lock(outcome.result), torch.inference_mode():
            with watching(module) as seen:
                full = module(batch)[0]
            quantized = outcome.result.model(batch)[0]
        return replace(outcome.compare(full, quantized), unlike=outcome.is_unlike(seen.features))

    def download(self, settings: RunSettings) -> Path | None:
        """A zip of the quantized model; None where the result is no longer in memory.

        A result is packed once: asked for again, it is the same file. It does not wait for runs.
        """
        outcome = self.outcome(settings)
        if outcome is None:
            return None
        with self.result_lock(outcome.result):
            of, path = self._packed.get(settings) or (None, None)
            if of is None or of() is not outcome or not path.exists():
                path = self.packed(outcome)
                self._packed.put(settings, (ref(outcome), path))
            return path

    def packed(self, outcome: Packable) -> Path:
        """A zip of the quantized model."""
        return self.zipped(
            outcome.settings.slug, lambda folder: vq.save_quantized(outcome.result, folder), self._downloads
        )

    def zipped(self, name: str, write: Callable[[Path], Any], place: Path) -> Path:
        """A zip of the folder that `write` fills, in a folder of `place` named after what it holds.

        `place` keeps the newest KEPT_DOWNLOADS.
        """
        with tempfile.TemporaryDirectory(dir=self.files.path) as made:
            saved, archive = Path(made) / name, Path(made) / f"{name}.zip"
            write(saved)
            _zip_folder(saved, archive)
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            folder = place / digest[:24]
            if not folder.exists():
                _forget_oldest(place, KEPT_DOWNLOADS - 1)
                folder.mkdir()
            return Path(shutil.move(archive, folder / archive.name))

    def text_file(self, name: str, text: str) -> Path:
        """A small file to download, in a folder of its own."""
        path = self.new_file(name)
        path.write_text(text)
        return path

    def new_file(self, name: str) -> Path:
        """Where a small file to download may be written, in a folder of its own."""
        return _new_folder(self._texts, KEPT_TEXTS) / name.replace("/", "-")

    def _quantize(self, settings: RunSettings, progress: Progress | None, job: Job) -> Outcome:
        read = READ if settings.effort == NO_EFFORT else LEARNING_READ
        begin = time.perf_counter()
        part_of(progress, 0, 1)(0.0, "Loading the model")
        model = self.model(settings.model)
        source = self.source(settings, progress, job)
        reference = self.reference(settings, part_of(progress, 0.05, read), job)
        measured = carry_out(
            quantize_and_measure, model, source, reference, settings.engine_recipe(), settings.calibration,
            seed=settings.seed, seconds=GPU_SECONDS.get(settings.effort, LONG),
            asked={"cancel": job, "drop": job.abandoned},
            heard={"progress": part_of(progress, read, 1), "watch": job.log},
        )  # fmt: skip
        if measured.result.source is not model:  # made in another process: a second copy of the model
            measured = replace(measured, result=replace(measured.result, source=model))
        _freed_without_collector(measured.result)
        settings, record = _named(settings, measured.result.report, job), None
        if settings.complete is settings:
            record = record_of_answers(
                settings.asked(), model, source, reference, measured, time.perf_counter() - begin,
                name=settings.title, settings=asdict(settings),
            )  # fmt: skip
        return Outcome(
            settings, model, measured.result, reference, measured.evaluation, measured.logits, source.about,
            source.warning, measured.left_out, measured.likeness, record=record,
            health=measured.health,
        )  # fmt: skip

    def _refer(self, settings: RunSettings, progress: Progress | None, cancel: Cancel | None) -> Reference:
        model, source = self.model(settings.model), self.source(settings, progress, cancel)
        return refer(model, source, settings.held_out, progress, cancel)


def _plan(model: str, recipe: str, bits: int, **data: Any) -> dict[str, Any]:
    return planned(RunSettings(model, recipe, bits, bits, **data))


def planned(settings: RunSettings, title: str = "", kind: str = ANSWERS) -> dict[str, Any]:
    """A run as its plan has it, JSON-ready; without a `title` its settings name it."""
    return {"kind": kind, "title": title or settings.title, "settings": asdict(settings)}


def _named(settings: RunSettings, report: Any, job: Job) -> RunSettings:
    """What names the result, which may have been stopped."""
    if not report.cancelled:
        return settings
    return StoppedRun(**vars(settings), learned=len(report.units), modules=job.log.total)


def _new_folder(parent: Path, kept: int) -> Path:
    """A folder in `parent`, which forgets all but the newest `kept`."""
    _forget_oldest(parent, kept - 1)
    return Path(tempfile.mkdtemp(dir=parent))


def _forget_oldest(parent: Path, kept: int) -> None:
    """Delete all folders of `parent` but the newest `kept`."""
    folders = sorted(parent.iterdir(), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-kept]:
        shutil.rmtree(folder, ignore_errors=True)


def _zip_folder(folder: Path, archive: Path) -> None:
    """Byte for byte the same for the same files: no times, one order, one set of permissions."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.name}", LONG_AGO)
            entry.external_attr = 0o644 << 16
            file.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)


def _weight(outcome: Outcome) -> float:
    """A quantized model holds its weights twice: as they were and as their codes stand for them."""
    return 2 * megabytes(outcome.model) + tensors_mb(outcome.logits)


def _freed_without_collector(result: vq.QuantizeResult) -> None:
    """Its model knows its simulation and that the model; cut where nobody holds the result any more."""
    finalize(result, vars(result.model).pop, "vitq", None)
