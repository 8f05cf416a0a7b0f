"""From the options of a command to what runs are asked for, checked before any work."""

from __future__ import annotations

from pathlib import Path

import vitq_core as vq
from vitq_core.experiment import given_path
from vitq_core.experiment.runs import Asked

from .pictures import SEGMENTS, place_of

CALIBRATION, SCENES = 32, 8
JUDGED, JUDGED_SCENES = 256, 64
MAX_SEED, MAX_COUNT = 2**31 - 1, 10**8


def asked_for(
    model: vq.Model,
    name: str,
    recipe: vq.Recipe,
    data: str | None,
    calibration: int | None,
    judged: int | None,
    seed: int,
) -> Asked:
    """Raises ValueError for numbers and pictures that cannot be. `name`: of the model, as it was given."""
    masks = model.info.task == SEGMENTS
    pictures, places = place_of(data, model.info.task)
    calibration = _calibration(recipe, masks) if calibration is None else calibration
    judged = (JUDGED_SCENES if masks else JUDGED) if judged is None else judged
    check_count("--calibration", calibration)
    check_count("--judged", judged)
    check_seed(seed)
    schedule = recipe.options.schedule
    if schedule is not None and calibration < schedule.batch_size:
        raise ValueError(
            f"this effort learns from {schedule.batch_size} pictures at a time, so --calibration must be at "
            f"least that, got {calibration}"
        )
    return Asked(known_as(model, name), recipe, calibration, judged, seed, pictures, places)


def _calibration(recipe: vq.Recipe, masks: bool) -> int:
    schedule = recipe.options.schedule
    return (SCENES if masks else CALIBRATION) if schedule is None else schedule.pictures


def known_as(model: vq.Model, name: str) -> str:
    """What loads the model again, from any folder: of the hub with its commit, of a file its whole path."""
    path = given_path(name, "the model")
    return str(path.absolute()) if model.info.id == name and path.exists() else model.info.id


def check_count(option: str, value: int) -> None:
    if not 1 <= value <= MAX_COUNT:
        raise ValueError(f"{option} must be a whole number from 1 to {MAX_COUNT}, got {value}")


def check_seed(seed: int) -> None:
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"--seed must be a whole number from 0 to {MAX_SEED}, got {seed}")


def writable_folder(option: str, folder: Path | None) -> Path | None:
    """Checked before hours of work. ValueError where a file is in the way or nothing can be made there."""
    if folder is None:
        return None
    path = given_path(folder, option, "folder")
    above = next(each for each in (path, *path.parents) if each.exists())
    if not above.is_dir():
        raise ValueError(f"{option} must name a folder, and {str(above)!r:.200} is a file")
    return path


def writable_file(option: str, file: Path | None, *endings: str) -> Path | None:
    """The same of a file, whose name ends with one of `endings`."""
    if file is None:
        return None
    path = given_path(file, option, "file")
    if endings and path.suffix.lower() not in endings:
        raise ValueError(
            f"{option} must name a file that ends with {' or '.join(endings)}, got {str(file)!r:.200}"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{option} must name a file in a folder that is there, got {str(file)!r:.200}")
    return path
