"""Behind `vitq importance`: scores of layers, gathered from where an earlier call was stopped."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core.experiment import replace_file
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.prompted import calibrating_questions
from vitq_core.experiment.runs import Asked
from vitq_core.experiment.runs.rerun import source_of

from .bench import Bench
from .ending import reading_input
from .pictures import SEGMENTS, place_key, place_of, readable
from .states import own_state
from .working import Work

AT_ONCE = 16  # pictures: often enough to hear that the work is stopped


def scored(
    work: Work,
    name: str,
    source: str,
    data: str | None,
    count: int,
    seed: int,
    state: Path | None,
    device: str | None,
) -> vq.Importance:
    """Raises ValueError for an unknown source, Ended for the state of other scores, Cancelled."""
    vq.SOURCES[source]
    bench = Bench(work, name, work.device(device))
    model = bench.model
    if state is None:
        state = own_state("importance", bench.weights, source, place_key(data), count, seed)
    work.kept = f"what was gathered is kept in {state}, and the same command goes on from there"
    with reading_input():
        pictures = calibration_pictures(work, model, data, count, seed)
        return vq.importance(
            model, pictures, source, progress=work.progress, cancel=work.stop, state=state,
            processes=work.processes,
        )  # fmt: skip


def calibration_pictures(
    work: Work, model: vq.Model, data: str | None, count: int, seed: int
) -> Iterable[Any]:
    """Pictures to measure on as `model` takes them, the same for the same seed."""
    pictures, places = place_of(data, model.info.task)
    if model.info.task == SEGMENTS:
        if data is not None:
            raise ValueError("Segment Anything is measured on drawn scenes with prompts; leave out --data")
        return calibrating_questions(model, count, seed)
    source = source_of(Asked(model.info.id, vq.recipe("minmax"), count, 1, seed, pictures, places), model)
    samples, _ = readable(source.calibration(count, seed), work)
    return Batches(samples, model.preprocess, AT_ONCE, work.stop)


def ranked(found: vq.Importance) -> list[tuple[str, float, float, str]]:
    """(layer, score, standard error, share), the most important first."""
    rows = [
        (layer, score, found.standard_errors[layer], f"{100 * found.relative[layer]:.2f} %")
        for layer, score in found.layer_scores.items()
    ]
    return sorted(rows, key=lambda row: -row[1])


def document(found: vq.Importance) -> dict[str, Any]:
    return json.loads(found.to_json())


def write(found: vq.Importance, file: Path) -> None:
    if file.suffix.lower() == ".json":
        found.save(file)
        return
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("layer", "score", "standard_error", "share"))
    writer.writerows(
        (layer, score, found.standard_errors[layer], found.relative[layer])
        for layer, score in found.layer_scores.items()
    )
    replace_file(file, lambda path: path.write_text(text.getvalue()))
