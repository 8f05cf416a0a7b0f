"""Masks as files: each as large as the picture, black and white, all in one zip."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

from numpy import ndarray
from PIL import Image

from .bench import SegmentBench
from .settings import SamSettings
from .visit import Visit

FOLDERS = ("full-precision", "quantized")
NOTHING = "There is no mask yet: click on something first."


def mask_file(bench: SegmentBench, model: str, quantized: SamSettings | None, visit: Visit | None) -> Path:
    """Of every object that was pointed at, by every model that answers. ValueError where there is none."""
    if visit is None or not visit.pointed:
        raise ValueError(NOTHING)
    masks = []
    for number, thing in visit.pointed:
        answers = bench.ask(model, quantized, visit.picture, thing)
        masks += [
            (f"{folder}/object-{number + 1}.png", answer.mask)
            for folder, answer in zip(FOLDERS, answers, strict=False)
        ]
    return write_masks(bench.bench.new_file(f"masks-of-{Path(visit.picture.name).stem}.zip"), masks)


def write_masks(path: Path, masks: Iterable[tuple[str, ndarray]]) -> Path:
    """(name, bool [H, W]) each as a PNG of one bit a pixel: white is inside."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, mask in masks:
            file = io.BytesIO()
            Image.fromarray(mask).save(file, "PNG")
            archive.writestr(name, file.getvalue())
    return path
