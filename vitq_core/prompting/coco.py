"""COCO's instances: a json file of outlines beside a folder or zip of photographs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

from ..common.files import given_path
from ..common.words import counted
from ..pictures.archive import Archive, Folder, open_storage
from ..pictures.decoding import open_picture
from .labelled import Labelled
from .rle import RunLengths

NEEDED = ("images", "annotations")


class CocoPictures:
    """Labelled pictures, one at a time; can be gone through again and again.

    `crowds`: annotations of many objects at once, which are left out. `left_out`: {picture or annotation: a
    sentence} of what is damaged, known once it was come to.
    """

    def __init__(self, pictures: str | Path, instances: str | Path | None = None) -> None:
        """`pictures`: a folder or zip. `instances`: the json file, by default the only one in there.

        Raises ValueError, one sentence, for what is neither, or no file of instances.
        """
        self._storage = open_storage(pictures)
        self._names = _findable(self._storage.names())
        content = _content(instances, self._storage)
        self._images = [entry for entry in content["images"] if isinstance(entry, dict)]
        self._annotations, self.crowds = _sorted(content["annotations"])
        self.left_out: dict[str, str] = {}

    def __len__(self) -> int:
        """Pictures that are listed."""
        return len(self._images)

    def __iter__(self) -> Iterator[Labelled]:
        for entry in self._images:
            name = str(entry.get("file_name"))
            try:
                picture = self._picture(name, entry)
            except ValueError as error:
                self.left_out[name] = str(error)
                continue
            yield Labelled(picture, list(self._masks(entry.get("id"), picture.size)))

    def _picture(self, name: str, entry: dict[str, Any]) -> Image.Image:
        stored = self._names.get(name) or self._names.get(name.rpartition("/")[2])
        if stored is None:
            raise ValueError(f"{name} is listed but is not among the pictures")
        picture = open_picture(self._storage.read(stored), name)
        listed = entry.get("width"), entry.get("height")
        if picture.size != listed:
            raise ValueError(f"{name} has {picture.size} pixels, but is listed with {listed!r:.80}")
        return picture

    def _masks(self, image: object, size: tuple[int, int]) -> Iterator[ndarray]:
        for annotation in self._annotations.get(_key(image), ()):
            try:
                yield outlined(annotation.get("segmentation"), *size)
            except ValueError as error:
                self.left_out[f"annotation {annotation.get('id')!r:.80}"] = str(error)


def outlined(segmentation: object, width: int, height: int) -> ndarray:
    """The mask, bool [H, W], of polygons [[x0, y0, x1, y1, …], …], together, or of run lengths.

    Raises ValueError, one sentence, for a damaged one and one without a pixel.
    """
    if isinstance(segmentation, dict):
        runs = RunLengths.from_coco(segmentation)
        if runs.size != (height, width):
            raise ValueError(
                f"a mask of {runs.size[1]}×{runs.size[0]} is none of a picture of {width}×{height}"
            )
        mask = runs.mask()
    else:
        mask = _filled(segmentation, width, height)
    if not mask.any():
        raise ValueError("an outline holds no pixel")
    return mask


def _filled(polygons: object, width: int, height: int) -> ndarray:
    """Pixels whose middle is inside one of them. PIL would draw the edges too: 9 % more than COCO means."""
    if not isinstance(polygons, list):
        raise ValueError(f"an outline must be a list of polygons, got {polygons!r:.80}")
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        mask |= _inside(_corners(polygon), width, height)
    return mask


def _inside(corners: ndarray, width: int, height: int) -> ndarray:
    """Along the middle of a row from the left, each edge that is crossed leads in or out."""
    crossed = np.zeros((height, width + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        top, bottom = np.ceil(np.clip(np.sort([y0, y1]) - 0.5, 0, height)).astype(int)
        rows = np.arange(top, bottom)  # none for a level edge
        x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0) if len(rows) else rows
        np.add.at(crossed, (rows, np.ceil(np.clip(x - 0.5, 0, width)).astype(int)), 1)
    return np.cumsum(crossed, 1)[:, :width] % 2 == 1


def _corners(polygon: object) -> ndarray:
    """(x, y) each, float64 [K, 2]; whole numbers lie between pixels."""
    try:
        numbers = np.asarray(polygon, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a polygon must be a list of numbers, got {polygon!r:.80}") from error
    if numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2 or not (np.abs(numbers) < 1e6).all():
        raise ValueError(f"a polygon must be three or more pairs of x and y, got {polygon!r:.80}")
    return numbers.reshape(-1, 2)


def _content(instances: str | Path | None, storage: Folder | Archive) -> dict[str, Any]:
    data, name = _read(instances, storage)
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: it cannot be read as json") from error
    lists = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in NEEDED)
    if not lists:
        raise ValueError(f"{name} is no file of COCO's instances: it needs the lists {' and '.join(NEEDED)}")
    return content


def _read(instances: str | Path | None, storage: Folder | Archive) -> tuple[bytes, str]:
    if instances is None:
        found = [name for name in storage.names() if name.lower().endswith(".json")]
        if len(found) != 1:
            raise ValueError(f"{storage.name} holds {counted(len(found), 'json file')}; name the one to use")
        data = storage.read(found[0])
        return (data if isinstance(data, bytes) else data.read_bytes()), found[0]
    path = given_path(instances, "the file of instances", "file")
    if not path.is_file():  # reading a pipe would wait for somebody to write into it
        raise ValueError(f"the file of instances cannot be opened: {path.name} is not there or no file")
    return path.read_bytes(), path.name


def _sorted(annotations: list) -> tuple[dict[str, list[dict]], int]:
    """{picture: its annotations} without crowds, and how many these are."""
    by_picture, crowds = defaultdict(list), 0
    for annotation in annotations:
        if not isinstance(annotation, dict):
            continue
        if annotation.get("iscrowd"):
            crowds += 1
        else:
            by_picture[_key(annotation.get("image_id"))].append(annotation)
    return by_picture, crowds


def _key(number: object) -> str:
    """Of a picture: files have whole numbers or text."""
    return f"{number!r:.80}"


def _findable(names: list[str]) -> dict[str, str]:
    return {name.rpartition("/")[2]: name for name in names} | {name: name for name in names}
