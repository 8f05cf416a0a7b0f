"""The pictures to point at: drawn scenes, photographs inside installed packages, and what people upload."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from vitq_core.experiment import open_picture, scenes
from vitq_core.experiment.samples import package_photographs

from ..parts.cache import Cache
from ..parts.forms import at
from ..parts.memory import Memory
from ..parts.thumbnails import THUMBNAIL
from .visit import Picture

SCENES = 10
SCENE_SIDE = 512
KEPT = 4  # decoded; one of 50 megapixels takes 150 MB
KEPT_SMALL = 64  # of at most two megapixels
UNKNOWN = "Choose a scene, a photograph or a file."


class Pictures:
    """Pictures by what names them; the few used last stay decoded."""

    def __init__(self, memory: Memory):
        self._kept: Cache[Image.Image] = memory.cache(KEPT, weigh=lambda picture: _bytes(picture) / 2**20)
        self._small: Cache[Image.Image] = memory.cache(KEPT_SMALL)

    def read(self, picture: Picture) -> Image.Image:
        """Upright, plain RGB. Raises ValueError for a file that is no picture, or no longer there."""
        return self._kept.get_or_make(picture.key, lambda: _read(picture.kind, picture.which))

    def sized(self, picture: Picture, side: int) -> Image.Image:
        """A copy no larger than `side`, the same for everybody who looks."""
        return self._small.get_or_make((picture.key, side), lambda: fitting(self.read(picture), side))

    def chosen(self, index: Any) -> Picture:
        """The one at a place of the gallery. Raises ValueError where there is none."""
        kind, which, name = at(_listed(), index)
        return self._named(kind, which, name)

    def uploaded(self, path: str) -> Picture:
        """Raises ValueError, a sentence, for what is no picture."""
        return self._named("file", path, Path(path).name)

    def _named(self, kind: str, which: int | str, name: str) -> Picture:
        read = self.read(Picture(kind, which, name, (0, 0)))
        return Picture(kind, which, name, read.size)


def gallery() -> list[tuple[Image.Image, str]]:
    """(thumbnail, name) of every picture that is there without an upload."""
    return [(_thumbnail(kind, which), name) for kind, which, name in _listed()]


@lru_cache(maxsize=1)
def _listed() -> list[tuple[str, int | str, str]]:
    """(kind, which, name) of each."""
    drawn = [("scene", number, f"Scene {number + 1}") for number in range(SCENES)]
    photographs = [("photograph", str(path), path.name) for path in package_photographs()]
    return drawn + photographs


def _read(kind: str, which: int | str) -> Image.Image:
    if kind == "scene":
        return _drawn(int(which), SCENE_SIDE)
    if kind in ("photograph", "file"):
        return open_picture(which)
    raise ValueError(UNKNOWN)


def _drawn(number: int, side: int) -> Image.Image:
    """A scene that no bundled model was trained on."""
    return Image.fromarray(scenes.scene(number, scenes.HELD_OUT_SEED, side).image)


@lru_cache(maxsize=64)
def _thumbnail(kind: str, which: int | str) -> Image.Image:
    """A scene is drawn as small as it is shown: that takes a tenth of the time."""
    picture = _drawn(int(which), THUMBNAIL) if kind == "scene" else _read(kind, which)
    picture = picture.copy()
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    return picture


def fitting(picture: Image.Image, side: int) -> Image.Image:
    """`picture`, or a copy whose longer side is `side`. A tiny one is enlarged by whoever shows it."""
    if max(picture.size) <= side:
        return picture
    factor = side / max(picture.size)
    size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _bytes(picture: Image.Image) -> int:
    return 3 * picture.width * picture.height
