"""Exports as the server makes them: quantized first where need be, compared, and kept as one zip."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import ref

import torch

import vitq_core as vq
from vitq_core.experiment.measure import Progress, part_of

from ..parts.cache import Cache
from ..parts.jobs import Job
from ..parts.model_list import task_of
from ..parts.settings import RunSettings, StoppedRun
from ..running.runs import sentence
from ..running.sources import Published, Source
from ..workbench import KEPT_DOWNLOADS, Kind, Workbench, planned
from . import aims, view
from .answers import Answers

# Kinds of runs: of the recipe as it is, and of its integer form, which is quantized and judged first.
EXPORT, INTEGER = "export", "export-integer"
SPEED = "speed.json"  # in the zip, beside the certificate: of this machine alone
ROUNDS = 7  # in which one picture is answered by the file and in full precision
# How much of a run is done when the result, or that of its integer form, is there.
MADE, BOTH_MADE = 0.2, 0.5
WRITTEN = 0.7  # of what is then left, before its speed is measured
ANOTHER_VERSION = "Another version of the studio planned this export; press Export again."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A zip at `path`. `asked`: the run that was chosen, `settings`: what is in it, which may be that run's
    integer form; `judged`: HTML of both side by side then. `speed`: None where it could not be measured.
    """

    asked: Any
    settings: Any
    format: str
    certificate: vq.Certificate
    path: Path
    speed: vq.SpeedReport | None = None
    judged: str = ""

    @property
    def title(self) -> str:
        return f"{self.settings.title} · {aims.title(self.format)}"


@dataclass(frozen=True)
class Refused:
    """A format that cannot hold a run, whose integer form it may: `reason` is a sentence."""

    asked: Any
    format: str
    reason: str


class Exports:
    """Shared by everybody: what is made is known by settings and format, none by person."""

    def __init__(self, bench: Workbench):
        self.bench = bench
        self._place = bench.files.folder("exports")
        self._made: Cache[tuple[ref[Any], Exported]] = Cache(KEPT_DOWNLOADS)
        bench.kinds |= {EXPORT: Kind(self._make), INTEGER: Kind(self._make_integer)}
        bench.sources |= dict.fromkeys((RunSettings, StoppedRun), Answers(bench))

    def source(self, settings: Any) -> Source:
        return self.bench.sources[type(settings)]

    def source_for(self, model: Any) -> Source:
        """Of results of a model; of answers for what is no model's name."""
        sources = self.bench.sources
        task = task_of(model)
        return next((each for each in sources.values() if task in each.tasks), sources[RunSettings])

    def read(self, kept: Mapping[str, Any]) -> Any:
        """Settings from JSON; None for those that nothing is exported of, or of another version."""
        source = next((each for each in self.bench.sources.values() if each.knows(kept)), None)
        try:
            return source and source.read(kept)
        except (TypeError, ValueError):
            return None

    def published(self, settings: Any) -> Published | None:
        """What a model card says of a result; None where it is no longer in memory."""
        source = self.source(settings)
        made = source.found(settings)
        return None if made is None else source.published(made)

    def refusal(self, settings: Any, name: str) -> str:
        """Why the format cannot hold a result that is in memory; empty where it can, or that is not known."""
        made = self.source(settings).found(settings)
        return "" if made is None else _refusal(made, name)

    def export(
        self, settings: Any, name: str, progress: Progress | None = None, job: Job | None = None
    ) -> Exported:
        """Raises vq.VitqError for what the format cannot hold, ValueError for a stopped run that is gone."""
        job, source = job or Job(), self.source(settings)
        with self.bench.computing(source.files(settings)):
            outcome = source.made(settings, part_of(progress, 0, MADE), job)
            with self.bench.result_lock(outcome.result):
                of, made = self._made.get((settings, name)) or (None, None)
                if of is None or of() is not outcome or not made.path.exists():
                    made = self._exported(outcome, name, part_of(progress, MADE, 1), job)
                    self._made.put((settings, name), (ref(outcome), made))
        return made

    def _exported(self, outcome: Any, name: str, progress: Progress, job: Job) -> Exported:
        settings, found = outcome.settings, []
        pictures = self.source(settings).batches(outcome, job)

        def write(folder: Path) -> None:
            writing, timing = part_of(progress, 0, WRITTEN), part_of(progress, WRITTEN, 1)
            certificate = vq.export(outcome.result, folder, name, pictures, writing, job)
            speed = _speed(outcome.result, certificate, timing, job)
            if speed is not None:
                (folder / SPEED).write_text(json.dumps(speed.to_json(), indent=1))
            found.extend([certificate, speed])

        path = self.bench.zipped(f"{settings.slug}-{name}", write, self._place)
        certificate, speed = found
        return Exported(
            settings, settings, name, replace(certificate, path=Path(certificate.path.name)), path, speed
        )

    def _make(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> Exported | Refused:
        settings, name, job = self._asked(wanted), wanted["format"], job or Job()
        source = self.source(settings)
        outcome = source.made(settings, part_of(progress, 0, MADE), job)
        source.keep(outcome, owner)
        reason = _refusal(outcome, name)
        if reason and self.has_integer_form(settings):
            return Refused(settings, name, reason)
        return self.export(settings, name, progress, job)

    def _make_integer(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> Exported:
        settings, name, job = self._asked(wanted), wanted["format"], job or Job()
        source, both = self.source(settings), []
        for each, part in ((settings, (0, MADE)), (source.integer(settings), (MADE, BOTH_MADE))):
            both.append(source.made(each, part_of(progress, *part), job))
            source.keep(both[-1], owner)
        made = self.export(both[1].settings, name, part_of(progress, BOTH_MADE, 1), job)
        judged = {each.settings.title: source.cards(each) for each in both}
        return replace(made, asked=settings, judged=view.beside(judged))

    def _asked(self, wanted: Mapping[str, Any]) -> Any:
        settings = self.read(wanted["settings"])
        if settings is None:
            raise ValueError(ANOTHER_VERSION)
        return settings

    def plan(self, settings: Any, name: str, kind: str = EXPORT) -> dict[str, Any]:
        """A run as its plan has it, JSON-ready."""
        form = self.source(settings).integer(settings) if kind == INTEGER else settings
        return planned(settings, f"{form.title} · {aims.title(name)}", kind) | {"format": name}

    def has_integer_form(self, settings: Any) -> bool:
        """Whether its recipe has one that is another recipe."""
        return self.source(settings).integer(settings).engine_recipe() != settings.engine_recipe()


def _refusal(outcome: Any, name: str) -> str:
    try:
        vq.EXPORTERS[name].check(outcome.result)
    except vq.VitqError as error:
        said = sentence(error)
        return f"{said[:1].upper()}{said[1:]}."
    return ""


def _speed(
    result: vq.QuantizeResult, certificate: vq.Certificate, progress: Progress, job: Job
) -> vq.SpeedReport | None:
    """Of one picture; None, and the reason in the log, where it cannot be measured. Raises vq.Cancelled."""
    threads = [torch.get_num_threads()]
    try:
        return vq.measure_speed(result, [certificate], [1], threads, ROUNDS, progress=progress, cancel=job)
    except vq.Cancelled:
        raise
    except vq.VitqError as error:
        log.warning("the speed of an export is not known: %s", error)
        return None
