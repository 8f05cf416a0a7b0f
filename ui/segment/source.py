"""Results of Segment Anything, to be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vitq_core.experiment.measure import Progress
from vitq_core.experiment.prompted import judging_questions

from ..parts.jobs import Job
from ..parts.model_list import SEGMENTS
from ..running.sources import Published, Source
from . import view
from .settings import SamSettings, from_form

JUDGING = 8  # scenes that show what quantizing cost, and that files are compared on

if TYPE_CHECKING:
    from .bench import Made, SegmentBench


class Masks(Source[SamSettings, "Made"]):
    tasks = SEGMENTS

    def __init__(self, bench: SegmentBench) -> None:
        self.bench = bench

    def knows(self, kept: Mapping[str, Any]) -> bool:
        return "parts" in kept

    def found(self, settings: SamSettings) -> Made | None:
        return self.bench.made(settings)

    def made(self, settings: SamSettings, progress: Progress | None, job: Job) -> Made:
        return self.bench.quantize(settings, progress, job)

    def batches(self, made: Made, job: Job) -> Iterable:
        return judging_questions(made.model, JUDGING, job)

    def cards(self, made: Made) -> str:
        report = made.result.report
        return view.tried(made.tried, (report.size_mb, report.fp32_size_mb))

    def asked(self, values: Mapping[str, Any]) -> SamSettings:
        usual = {name: getattr(SamSettings, name) for name in ("parts", "calibration", "seed")}
        return from_form({**usual, **values})

    def integer(self, settings: SamSettings) -> SamSettings:
        return replace(settings, integer=True)

    def read(self, kept: Mapping[str, Any]) -> SamSettings:
        return SamSettings(**kept)

    def published(self, made: Made) -> Published:
        return Published(made.result, calibrated_on="drawn scenes")
