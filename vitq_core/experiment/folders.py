"""Pictures that a person brings: a folder or zip, or single files, in two parts that share none."""

import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..common.files import given_path
from ..common.monitor import Monitor
from ..pictures import PictureFolder, open_picture
from ..pictures.archive import Archive, Folder, Heard, open_storage
from ..pictures.layout import NoPictures
from .measure import Cancel, Progress
from .samples import Sample, Source

SPLITS = [("train", "test"), ("train", "val"), ("train", "valid"), ("train", "validation")]
ALL = sys.maxsize  # a limit, so that PictureFolder balances the classes, which takes every picture
ONE_PICTURE = "The model is judged by the one picture that it was calibrated on: bring two or more."


def changed(folder: str) -> float:
    """When a folder or zip last changed; 0 where there is none."""
    try:
        return given_path(folder, "the folder").stat().st_mtime
    except (ValueError, OSError):  # no such thing: what is wrong is said where it is read
        return 0.0


@dataclass(frozen=True)
class Pools:
    """Two lists of samples that share no picture (unless there is only one)."""

    key: tuple
    about: str
    to_calibrate: tuple[Sample, ...]
    to_hold_out: tuple[Sample, ...]
    warning: str = ""

    def calibration(self, count: int, seed: int) -> list[Sample]:
        return random.Random(seed).sample(self.to_calibrate, min(count, len(self.to_calibrate)))

    def held_out(self, count: int) -> list[Sample]:
        return list(self.to_hold_out[:count])


def upload_source(
    model: Any, files: list[Path], progress: Progress | None = None, cancel: Cancel | None = None
) -> Source:
    """One zip, or pictures without labels. Raises Cancelled."""
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return folder_source(model, files[0], progress, cancel)
    if any(path.suffix.lower() == ".zip" for path in files):
        raise ValueError("Upload either one .zip or pictures, not both.")
    samples = [Sample(path.name, None, partial(open_picture, path)) for path in files]
    about = f"{len(samples)} uploaded pictures, without labels: half to calibrate, half held out."
    return _halves(("uploads", *map(str, files)), about, samples)


def folder_source(
    model: Any, path: Path, progress: Progress | None = None, cancel: Cancel | None = None, name: str = ""
) -> Source:
    """Its train and test parts where it has them, else one half of it to calibrate and the other held out.

    `name`: what sentences call the folder. `cancel` is asked every few hundred files; raises Cancelled.
    """
    key = ("folder", str(path), changed(str(path)))
    storage, heard = open_storage(path, name), _looking(progress, cancel)
    heard(len(storage.names(heard)))  # looked for once, however often it is used below
    try:
        samples, warning, passed_over = _labelled(model, storage, None)
    except NoPictures:
        raise
    except ValueError:
        return _split_source(model, storage, key, heard)
    half = "half of its pictures to calibrate, the other half held out."
    return _halves(key, f"{storage.name}: {half}{_no_pictures(passed_over)}", samples, warning)


def _looking(progress: Progress | None, cancel: Cancel | None) -> Heard:
    """Says how many files were found; raises Cancelled."""
    monitor = Monitor(progress, cancel)
    return lambda found: monitor.report(0.0, f"Looking for pictures ({found:,} files so far)")


def _split_source(model: Any, storage: Folder | Archive, key: tuple, heard: Heard) -> Source:
    for train, test in SPLITS:
        heard(len(storage.names()))
        try:
            calibrate, warning, passed_over = _labelled(model, storage, train)
            held_out, _, also = _labelled(model, storage, test)
        except ValueError:
            continue
        about = f"{storage.name}: its {train} part to calibrate, its {test} part held out." + _no_pictures(
            passed_over + also
        )
        return Pools(key, about, tuple(calibrate), tuple(held_out), warning)
    samples, warning, passed_over = _labelled(model, storage, None)  # says what is wrong with the folder
    return _halves(key, f"{storage.name}.{_no_pictures(passed_over)}", samples, warning)


def _labelled(model: Any, storage: Folder | Archive, split: str | None) -> tuple[list[Sample], str, int]:
    """All samples, classes balanced from the start, a warning where the classes are not the model's, and how
    many files are no pictures."""
    try:
        folder = PictureFolder(storage, model.preprocess, ALL, split=split, labels=model.labels)
        return _samples(folder, labelled=True), "", folder.skipped
    except ValueError as error:
        folder = PictureFolder(storage, model.preprocess, ALL, split=split)
        warning = f"These pictures count as unlabelled, so that only agreement is measured: {error}."
        return _samples(folder, labelled=False), warning, folder.skipped


def _no_pictures(count: int) -> str:
    """Said of the files that were passed over."""
    files = "1 file is no picture and was" if count == 1 else f"{count} files are no pictures and were"
    return f" {files} not used." if count else ""


def _samples(folder: PictureFolder, labelled: bool) -> list[Sample]:
    return [
        Sample(name, label if labelled and label >= 0 else None, partial(folder.picture, i))
        for i, (name, label) in enumerate(folder.files)
    ]


def _halves(key: tuple, about: str, samples: list[Sample], warning: str = "") -> Pools:
    """The first half is held out: classes are balanced from the start. A single picture serves as both."""
    half = -(-len(samples) // 2)
    if len(samples) == 1:
        warning = f"{ONE_PICTURE} {warning}".strip()
    about = f"{about} There are {len(samples)} in all."
    return Pools(key, about, tuple(samples[half:] or samples), tuple(samples[:half]), warning)
