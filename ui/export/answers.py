"""Results of models that take a picture alone, to be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from vitq_core.experiment.measure import Batches, Progress

from ..parts import markup
from ..parts.jobs import Job
from ..parts.model_list import SHOWN
from ..parts.outcome import Outcome
from ..parts.settings import RunSettings, StoppedRun, from_form
from ..parts.stored_outcome import run_settings
from ..running.sources import Published, Source
from ..workbench import Workbench

COMPARED, AT_ONCE = 64, 16  # pictures
GONE = "This result is no longer in memory; compute it again on the page Quantize, then export it."
PLACES = {"own": "those that come with the studio", "generated": "made from noise"}


class Answers(Source[RunSettings, Outcome]):
    tasks = SHOWN

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def knows(self, kept: Mapping[str, Any]) -> bool:
        return "recipe" in kept and "parts" not in kept

    def found(self, settings: RunSettings) -> Outcome | None:
        return self.bench.outcome(settings)

    def made(self, settings: RunSettings, progress: Progress | None, job: Job) -> Outcome:
        if isinstance(settings, StoppedRun) and self.found(settings) is None:
            raise ValueError(GONE)
        return self.bench.quantize(settings, progress, job)

    def batches(self, made: Outcome, job: Job) -> Iterable:
        return Batches(made.reference.samples[:COMPARED], made.model.preprocess, AT_ONCE, job)

    def cards(self, made: Outcome) -> str:
        return f'<div class="vq-cards vq-four">{markup.accuracy(made)}{markup.agreement(made)}</div>'

    def asked(self, values: Mapping[str, Any]) -> RunSettings:
        usual = {name: getattr(RunSettings, name) for name in ("calibration", "held_out", "seed")}
        return from_form({**usual, **values})

    def integer(self, settings: RunSettings) -> RunSettings:
        """Of the whole run, also where this one was stopped."""
        return replace(settings.complete, integer=True)

    def read(self, kept: Mapping[str, Any]) -> RunSettings:
        """Also of a run that was stopped."""
        settings = run_settings(kept)
        if "learned" not in kept:
            return settings
        return StoppedRun(**vars(settings), learned=kept["learned"], modules=kept["modules"])

    def published(self, made: Outcome) -> Published:
        settings, judged = made.settings, made.settings.pictures
        return Published(
            made.result, made.evaluation, made.reference.evaluation,
            _pictures("own" if judged == "generated" else judged), _pictures(settings.pictures),
        )  # fmt: skip

    def files(self, settings: RunSettings) -> tuple[str, ...]:
        return settings.uploads

    def keep(self, made: Outcome, owner: str) -> None:
        self.bench.keep(made.record, owner)


def _pictures(place: str) -> str:
    """Never what a visitor's own files are called."""
    return PLACES.get(place, "the publisher's own")
