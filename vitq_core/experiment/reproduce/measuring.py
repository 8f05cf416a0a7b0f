"""One cell of a table, measured: how often the quantized model is right, and what making it took."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ...common.checks import check_count, check_whole
from ...common.errors import Cancelled, VitqError
from ...common.process_memory import peak_memory
from ...models import Model
from ..folders import ALL
from ..generated import Generated
from ..measure import Cancel, Progress
from ..run import Reference, quantize_and_measure, refer
from ..samples import Source
from .tables import Row

PUBLISHED_STEPS, TRIAL_STEPS = 500, 10  # of each of the two passes that make pictures of noise
TRIAL_SHARE = 8  # of a limit, the part that a trial calibrates on
MEASURED = ("top1", "top5", "agreement", "kl", "cosine", "n")


@dataclass(frozen=True)
class Asked:
    """How the cells of a table are measured.

    ``limit``: judge by so many pictures; the run is a trial then, which calibrates on an eighth as many at
    most and makes pictures of noise in few steps. ``calibration``, ``options``: in the place of a row's own.
    Raises ValueError for numbers that are none.
    """

    limit: int | None = None
    calibration: int | None = None
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("limit", "calibration"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_whole("seed", self.seed)

    def pictures(self, row: Row) -> int:
        """How many to calibrate on."""
        if self.calibration is not None:
            return self.calibration
        if self.limit is None:
            return row.calibration
        return min(row.calibration, max(self.limit // TRIAL_SHARE, 1))

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "options": dict(self.options)}


class Subject:
    """A model with its pictures, whose answers in full precision all rows of a table share."""

    def __init__(self, model: Model, source: Source, asked: Asked) -> None:
        self.model, self.source, self.asked = model, source, asked
        self._reference: Reference | None = None

    def reference(self, progress: Progress | None = None, cancel: Cancel | None = None) -> Reference:
        if self._reference is None:
            self._reference = refer(self.model, self.source, self.asked.limit or ALL, progress, cancel)
        return self._reference

    def full(self, progress: Progress | None = None, cancel: Cancel | None = None) -> dict[str, Any]:
        """What it measures before it is quantized, JSON-ready."""
        return _measured(self.reference(progress, cancel).evaluation)

    def row(self, row: Row, progress: Progress | None = None, cancel: Cancel | None = None) -> dict[str, Any]:
        """What the row measures, with seconds and peak memory of quantizing and judging; JSON-ready.

        Of a method that refuses this model or these bits, why.
        """
        self.reference(cancel=cancel)
        try:
            return self._measured_row(row, progress, cancel)
        except Cancelled:
            raise
        except (VitqError, ValueError) as error:
            return {"refused": str(error)}

    def _measured_row(self, row: Row, progress: Progress | None, cancel: Cancel | None) -> dict[str, Any]:
        reference, asked = self.reference(cancel=cancel), self.asked
        recipe, count, source = row.made(**asked.options), asked.pictures(row), self.source
        if row.generated:
            steps = PUBLISHED_STEPS if asked.limit is None else TRIAL_STEPS
            source = Generated(self.model, source, steps)
        device = next(self.model.module.parameters()).device
        begin = time.perf_counter()
        with peak_memory(device) as peak:
            found = quantize_and_measure(
                self.model,
                source,
                reference,
                recipe,
                count,
                seed=asked.seed,
                progress=progress,
                cancel=cancel,
            )
        report = found.result.report
        return {
            **_measured(found.evaluation),
            "calibration": count,
            "size_mb": report.size_mb,
            "avg_weight_bits": report.avg_weight_bits,
            "avg_act_bits": report.avg_act_bits,
            "seconds": time.perf_counter() - begin,
            "quantize_seconds": report.seconds,
            "host_mb": None if peak.host is None else peak.host / 1e6,
            "device_mb": None if peak.device is None else peak.device / 1e6,
            "device": str(device),
            "threads": torch.get_num_threads(),
        }


def _measured(evaluation: Any) -> dict[str, Any]:
    return {name: getattr(evaluation, name, None) for name in MEASURED}
