"""From --data to what the engine keeps of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import vitq_core as vq
from vitq_core.experiment import given_path, names_dataset, open_picture
from vitq_core.experiment.folders import changed
from vitq_core.experiment.measure import UNKNOWN
from vitq_core.experiment.runs import FOLDER, GENERATED, OWN, SCENES, UPLOADS
from vitq_core.experiment.samples import Sample, in_memory

from .working import Work

SEGMENTS = "segmentation"
NOT_FOR_MASKS = (
    "Segment Anything is calibrated on drawn scenes with prompts, so --data generated does nothing here; "
    "leave it out, or name a folder or .zip with COCO's json file of outlines to judge by"
)


def place_of(data: str | None, task: str) -> tuple[str, tuple[str, ...]]:
    """(kind, places) as `Asked` has them. ValueError for what names no pictures.

    Of Segment Anything the pictures only judge: it is calibrated on drawn scenes.
    """
    masks = task == SEGMENTS
    if data is None:
        return (SCENES if masks else OWN), ()
    if data == GENERATED and not Path(GENERATED).exists():
        if masks:
            raise ValueError(NOT_FOR_MASKS)
        return GENERATED, ()
    if not masks and names_dataset(data):
        return FOLDER, (data,)
    path = given_path(data, "--data", "folder or .zip of pictures")
    if not path.exists():
        raise ValueError(f"there is no folder or .zip of pictures {data!r:.200}")
    return (UPLOADS if masks else FOLDER), (str(path.absolute()),)


def place_key(data: str | None) -> tuple[str | None, float]:
    """What tells these pictures from others, and from those that lay there before."""
    return data, 0.0 if data is None else changed(data)


def readable(samples: Sequence[Sample], work: Work) -> tuple[list[Sample], list[str]]:
    """Those that can be decoded, and the names of the others. Each process tries its share.

    Raises ValueError, with the first one's reason, where none can, and Cancelled.
    """
    reasons: dict[int, str] = {}
    for number in work.processes.shard(range(len(samples))):
        if work.stop():
            raise vq.Cancelled
        try:
            samples[number].read()
        except ValueError as error:
            reasons[number] = str(error)
    reasons = dict(json.loads(work.processes.together(json.dumps([*reasons.items()]), _joined)))
    kept = [sample for number, sample in enumerate(samples) if number not in reasons]
    if not kept:
        raise ValueError(reasons[0] if reasons else "there are no pictures to use")
    return kept, [samples[number].name for number in reasons]


def _joined(lists: list[str]) -> str:
    return json.dumps(sorted(pair for each in lists for pair in json.loads(each)))


def opened(paths: Sequence[str]) -> list[Sample]:
    """Single pictures, read now. ValueError for what cannot be read."""
    return [in_memory(Path(path).name, None, open_picture(_there(path))) for path in paths]


def _there(path: str) -> Path:
    found = given_path(path, "--picture", "picture")
    if not found.is_file():
        raise ValueError(f"there is no picture {path!r:.200}")
    return found


def label_of(sample: Sample, model: vq.Model) -> str | None:
    """What the picture shows, where that is known."""
    if sample.label in (None, UNKNOWN):
        return None
    return model.labels[sample.label] if model.labels else str(sample.label)
