"""Runs as the studio makes and keeps them: each is looked for among those that are there, and made
otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import vitq_core as vq
from vitq_core.experiment import counted, digest_of
from vitq_core.experiment.measure import Progress, part_of
from vitq_core.experiment.run import Reference, quantize_and_measure, refer
from vitq_core.experiment.runs import SCENES, Asked, RunRecord, RunStore, record_of_answers
from vitq_core.experiment.runs.rerun import judges_of, prompted, source_of
from vitq_core.experiment.samples import Source

from . import kept, naming
from .ending import reading_input
from .pictures import SEGMENTS
from .working import Work

EVERYBODY = ""  # whose runs these are: of whoever uses this machine
READ = 0.25  # how much of a run is done when the held-out pictures are answered in full precision


@dataclass(frozen=True)
class Made:
    """`result`: None of a run that was there already. `sentences`: what to mind about its numbers."""

    record: RunRecord
    result: vq.QuantizeResult | None = None
    sentences: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        return self.result is None


@dataclass
class Bench:
    """For one model: it, its pictures and its answers in full precision are read once for all runs."""

    work: Work
    name: str
    device: str | None = None
    store: RunStore = field(default_factory=RunStore)
    _sources: dict[tuple, Source] = field(default_factory=dict)
    _references: dict[tuple, Reference] = field(default_factory=dict)

    @cached_property
    def model(self) -> vq.Model:
        """Raises Ended for one that is not there or damaged."""
        with reading_input():
            return vq.load_model(
                self.name, self.device, progress=part_of(self.work.progress, 0, 0.05), cancel=self.work.stop
            )

    @property
    def segments(self) -> bool:
        return self.model.info.task == SEGMENTS

    @cached_property
    def weights(self) -> str:
        return digest_of(self.model.module.state_dict())

    def source(self, asked: Asked) -> Source:
        """The pictures of a model that takes no prompts."""
        key = (asked.pictures, asked.places)
        if key not in self._sources:
            with reading_input():
                self._sources[key] = source_of(asked, self.model)
        return self._sources[key]

    def check(self, asked: Asked) -> None:
        """Raises ValueError or Ended for pictures that cannot be used."""
        if not self.segments:
            self.source(asked)
        else:
            with reading_input():
                judges_of(asked)

    def known(self, asked: Asked) -> RunRecord | None:
        """A run that gave the same numbers, whoever made it: this program or the studio."""
        return self.store.find(self._key(asked), (EVERYBODY,))

    def _key(self, asked: Asked) -> str:
        pictures = (asked.pictures, *asked.places) if self.segments else self.source(asked).key
        return asked.key(self.weights, pictures)

    def make(self, asked: Asked, progress: Progress | None = None) -> Made:
        """A run, kept among the others, unless one has the same numbers. Raises Cancelled."""
        known = self.known(asked)
        return Made(known) if known is not None else self.made_anew(asked, progress)

    def made_anew(self, asked: Asked, progress: Progress | None = None) -> Made:
        """Also where there is such a run: for its model, which no store keeps. Raises Cancelled."""
        made = self.unkept(asked, progress or self.work.progress)
        known = self.store.find(made.record.key, (EVERYBODY,))
        if known is None:
            self.store.add(made.record)
        kept.keep(made.result, made.record.key)
        return Made(known or made.record, made.result, made.sentences)

    def unkept(self, asked: Asked, progress: Progress) -> Made:
        """Also where there is such a run, and kept nowhere. Raises Cancelled."""
        work = self._masks if self.segments else self._answers
        return work(asked, progress)

    def _reference(self, asked: Asked, progress: Progress) -> Reference:
        key = (asked.pictures, asked.places, asked.judged)
        if key not in self._references:
            self._references.clear()  # their pictures take memory
            self._references[key] = refer(
                self.model, self.source(asked), asked.judged, progress, self.work.stop
            )
        return self._references[key]

    def _answers(self, asked: Asked, progress: Progress) -> Made:
        begin, source = time.perf_counter(), self.source(asked)
        reference = self._reference(asked, part_of(progress, 0, READ))
        measured = quantize_and_measure(
            self.model, source, reference, asked.recipe, asked.calibration, seed=asked.seed,
            progress=part_of(progress, READ, 1), cancel=self.work.stop, drop=self.work.stop,
            watch=self._learning(),
        )  # fmt: skip
        record = record_of_answers(
            asked, self.model, source, reference, measured, time.perf_counter() - begin,
            name=naming.name_of(asked), settings=naming.settings_of(asked),
        )  # fmt: skip
        unread = [
            f"{counted(len(names), 'picture')} {use} could not be read and left out: {', '.join(names[:3])}."
            for use, names in (("to calibrate", measured.left_out), ("to test", reference.left_out))
            if names
        ]
        health = measured.health.warnings if measured.health else ()
        return Made(record, measured.result, (*unread, *[source.warning] * bool(source.warning), *health))

    def _masks(self, asked: Asked, progress: Progress) -> Made:
        with reading_input():
            judges = judges_of(asked)
        title = counted(asked.judged, "scene" if asked.pictures == SCENES else "photograph")
        record, result, tried = prompted(
            asked, self.model, judges, progress, self.work.stop,
            name=f"{naming.name_of(asked, True)}, on {title}", settings=naming.settings_of(asked),
        )  # fmt: skip
        return Made(record, result, tried.signs)

    def _learning(self) -> Callable[[Any], None]:
        """Keeps in words how far the fine-tuning is, which a stopped run goes on from."""

        def heard(unit: vq.UnitProgress) -> None:
            self.work.kept = (
                f"{unit.index} of {counted(unit.total, 'module')} are learned and kept, and the same command "
                "goes on from there"
            )

        return heard
