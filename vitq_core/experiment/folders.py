"""Pictures that a person brings: a folder or zip, or single files, in two parts that share none."""

import random
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..common.files import given_path
from ..common.monitor import Monitor
from ..common.words import counted, readable
from ..pictures import PictureFolder, open_picture
from ..pictures.archive import Archive, Folder, Heard, open_storage
from ..pictures.hub_pictures import fetch_pictures, names_dataset
from ..pictures.labels import UnknownClasses
from ..pictures.layout import Parts, find_pictures
from ..pictures.splits import pair_among
from .measure import Cancel, Progress
from .samples import Sample, Source

ALL = sys.maxsize  # a limit, so that PictureFolder balances the classes, which takes every picture
TRIED = 256  # so many pictures are read before they are halved: one half could be unreadable
NAMED = 3  # pictures with their reasons in a sentence
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
    samples, unread = _readable(samples, progress, cancel)
    about = f"{counted(len(samples), 'uploaded picture')}, without labels: half to calibrate, half held out."
    return _halves(("uploads", *map(str, files)), about, samples, unread)


def folder_source(
    model: Any,
    path: str | Path,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
    name: str = "",
) -> Source:
    """Its train and test parts where it has them, else one half of it to calibrate and the other held out.

    `path` may name a data set of the hub by `hf://datasets/` or its page, which `fetch_pictures` brings here.
    `name`: what sentences call the folder. `cancel` is asked every few hundred files; raises Cancelled.
    """
    if names_dataset(path):
        path, name = fetch_pictures(path, progress=progress, cancel=cancel), name or path
    path = Path(path)
    key = ("folder", str(path), changed(str(path)))
    storage, heard = open_storage(path, name), _looking(progress, cancel)
    storage.pictures(heard)  # looked for once, however often it is used below
    try:
        listed = _labelled(model, storage, None)
    except Parts as parts:
        return _in_parts(model, storage, key, parts)
    samples, unread = _readable(listed.samples, progress, cancel)
    about = f"{storage.name}: half of its pictures to calibrate, the other half held out."
    warning = " ".join(each for each in (listed.warning, unread) if each)
    return _halves(key, " ".join([about, *listed.notes]), samples, warning)


def check_pictures(path: str | Path) -> None:
    """Raises ValueError for a folder or zip that cannot be read or holds no pictures, by names alone."""
    with suppress(Parts):  # which of them is for what is asked later
        find_pictures(open_storage(Path(path)))


def separate_source(model: Any, calibrating: str | Path, judging: str | Path) -> Source:
    """All pictures of one folder or zip to calibrate, all of another held out."""
    storages = [open_storage(Path(path)) for path in (calibrating, judging)]
    to_calibrate, to_hold_out = (_labelled(model, storage, None) for storage in storages)
    about = f"{storages[0].name} to calibrate, {storages[1].name} held out."
    notes = dict.fromkeys([*to_calibrate.notes, *to_hold_out.notes])
    key = ("separate", *(each for path in (calibrating, judging) for each in (str(path), changed(str(path)))))
    warning = to_calibrate.warning or to_hold_out.warning
    samples = tuple(to_calibrate.samples), tuple(to_hold_out.samples)
    return Pools(key, " ".join([about, *notes]), *samples, warning)


def _looking(progress: Progress | None, cancel: Cancel | None) -> Heard:
    """Says how many files were found; raises Cancelled."""
    monitor = Monitor(progress, cancel)
    return lambda found: monitor.report(0.0, f"Looking for pictures ({found:,} files so far)")


@dataclass(frozen=True)
class _Listed:
    """`warning`: that the classes are not the model's. `notes`: what was left out, as sentences."""

    samples: list[Sample]
    warning: str
    notes: list[str]


def _in_parts(model: Any, storage: Folder | Archive, key: tuple, parts: Parts) -> Pools:
    """Of a folder with train and test parts."""
    train, test = pair_among(parts.folders)
    calibrate, held_out = (_labelled(model, storage, part) for part in (train, test))
    unused = [name for name in (*parts.folders, *parts.others) if name not in (train, test)]
    about = f"{storage.name}: its {readable(train)} part to calibrate, its {readable(test)} part held out."
    notes = [f"Not used: {', '.join(map(readable, unused))}."] if unused else []
    notes += dict.fromkeys([*calibrate.notes, *held_out.notes])  # what is said of both, once
    warning = calibrate.warning or held_out.warning
    return Pools(key, " ".join([about, *notes]), tuple(calibrate.samples), tuple(held_out.samples), warning)


def _labelled(model: Any, storage: Folder | Archive, split: str | None) -> _Listed:
    """All samples, classes balanced from the start; unlabelled where the classes are not the model's."""
    known = {"labels": model.labels, "classes": model.classes or None}
    try:
        folder, warning = PictureFolder(storage, model.preprocess, ALL, split=split, **known), ""
    except UnknownClasses as error:
        folder = PictureFolder(storage, model.preprocess, ALL, split=split)
        warning = f"These pictures count as unlabelled, so that only agreement is measured: {error}."
    notes = [*folder.left_out.sentences(), *folder.notes]
    return _Listed(_samples(folder, labelled=not warning), warning, notes)


def _readable(
    samples: list[Sample], progress: Progress | None, cancel: Cancel | None
) -> tuple[list[Sample], str]:
    """(those that can be read, which cannot and why). Of more than TRIED a half is never all unreadable.

    Raises ValueError, with the reasons, where none can be read, and Cancelled.
    """
    if len(samples) > TRIED:
        return samples, ""
    kept, reasons, monitor = [], [], Monitor(progress, cancel)
    for number, sample in enumerate(samples):
        monitor.report(0.0, f"Reading pictures ({number} of {len(samples)})")
        try:
            sample.read()
        except ValueError as error:
            reasons.append(str(error))
        else:
            kept.append(sample)
    if samples and not kept:
        raise ValueError(_why(reasons))
    unread = f"{len(reasons)} of {counted(len(samples), 'picture')} could not be read and were left out"
    return kept, f"{unread}: {_why(reasons)}." if reasons else ""


def _why(reasons: list[str]) -> str:
    more = len(reasons) - NAMED
    return "; ".join(map(readable, reasons[:NAMED])) + (f"; and {more} more" if more > 0 else "")


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
