"""Where pictures come from: rendered scenes, or photographs inside installed packages."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..common.words import readable
from ..models import list_models
from ..pictures import open_picture

# The person's seed is added to it; those of the training and the held-out scenes are far below.
CALIBRATION_SEEDS = 1000
SCENE_MODELS = ("demo-vit", "demo-swin")  # by the folders of their weights
PHOTO_FOLDERS = {"gradio": ("media_assets/images", "test_data"), "skimage": ("data",)}
PHOTO_SUFFIXES = {".jpg", ".jpeg"}  # the PNGs in there are icons and charts
SMALLEST_PHOTO = 128


@dataclass(frozen=True)
class Sample:
    """One picture, decoded when it is read; `label` indexes the model's labels, None where unknown."""

    name: str
    label: int | None
    read: Callable[[], Image.Image]

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", readable(self.name))


class Source(Protocol):
    """Pictures for one model. `about` says what is used, `warning` what that costs, if anything."""

    key: tuple
    about: str
    warning: str

    def calibration(self, count: int, seed: int) -> list[Sample]: ...

    def held_out(self, count: int) -> list[Sample]: ...


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes, for the models trained on them."""

    size: int
    about: str = "Rendered scenes that the model never saw: drawn with other seeds than its training's."
    warning: str = ""

    @property
    def key(self) -> tuple:
        return ("scenes", self.size)

    def calibration(self, count: int, seed: int) -> list[Sample]:
        return _render(count, CALIBRATION_SEEDS + seed, self.size)

    def held_out(self, count: int) -> list[Sample]:
        from ..demo import scenes

        return _render(count, scenes.HELD_OUT_SEED, self.size)


@lru_cache(maxsize=16)
def _render(count: int, seed: int, size: int) -> list[Sample]:
    from ..demo import scenes

    images, labels = scenes.scene_batch(range(count), seed, size)
    pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    return [in_memory(f"scene {i}", int(labels[i]), Image.fromarray(pixels[i])) for i in range(count)]


def forget_pictures() -> None:
    """Free the scenes and photographs that nobody holds; they are made again when asked for."""
    _render.cache_clear()
    _photo.cache_clear()


def in_memory(name: str, label: int | None, picture: Image.Image) -> Sample:
    """A picture that is there already."""
    return Sample(name, label, partial(_same, picture))  # partial: another process can be given it


def _same(picture: Image.Image) -> Image.Image:
    return picture


@dataclass(frozen=True)
class Photographs:
    """Random crops of the few photographs inside installed packages: what is left where nothing else is."""

    paths: tuple[Path, ...]

    @property
    def key(self) -> tuple:
        return ("photographs", *map(str, self.paths))

    @property
    def about(self) -> str:
        count = len(self.paths)
        return f"Random crops of {count} photographs that ship inside installed packages, without labels."

    @property
    def warning(self) -> str:
        return (
            "These are not pictures like those the model was trained on, and calibrating on another domain "
            "costs accuracy. For a result that counts, name a folder or zip of its own pictures; accuracy "
            "needs labelled ones."
        )

    def calibration(self, count: int, seed: int) -> list[Sample]:
        return self._crops(count, 2 * seed)

    def held_out(self, count: int) -> list[Sample]:
        return self._crops(count, 1)

    def _crops(self, count: int, seed: int) -> list[Sample]:
        rng = random.Random(seed)
        return [self._crop(i, rng.random(), rng.random(), rng.uniform(0.3, 1)) for i in range(count)]

    def _crop(self, number: int, x: float, y: float, share: float) -> Sample:
        path = self.paths[number % len(self.paths)]
        return Sample(f"crop of {path.name}", None, partial(_cropped, path, x, y, share))


def _cropped(path: Path, x: float, y: float, share: float) -> Image.Image:
    return _square(_photo(path), x, y, share)


def _square(picture: Image.Image, x: float, y: float, share: float) -> Image.Image:
    side = max(round(min(picture.size) * share), 1)
    left, top = round(x * (picture.width - side)), round(y * (picture.height - side))
    return picture.crop((left, top, left + side, top + side))


@lru_cache(maxsize=32)
def _photo(path: Path) -> Image.Image:
    return open_picture(path)


@lru_cache(maxsize=1)
def package_photographs() -> tuple[Path, ...]:
    """Photographs inside installed packages, each once (Gradio ships some twice)."""
    found: dict[str, Path] = {}
    for package, folders in PHOTO_FOLDERS.items():
        spec = find_spec(package)
        root = Path(spec.origin).parent if spec and spec.origin else None
        for path in _jpegs(root, folders) if root else ():
            found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return tuple(found.values())


def _jpegs(root: Path, folders: Sequence[str]) -> list[Path]:
    files = (path for folder in folders for path in sorted((root / folder).glob("*")))
    jpegs = (path for path in files if path.suffix.lower() in PHOTO_SUFFIXES)
    return [path for path in jpegs if min(_size(path)) >= SMALLEST_PHOTO]


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def draws_scenes(model_id: str) -> bool:
    """Whether the bundled scenes are this model's kind of pictures, known before it is loaded."""
    return any(info.id == model_id and Path(info.source).name in SCENE_MODELS for info in list_models())


def builtin_source(model: Any) -> Source:
    """What the studio itself can offer for `model`: its scenes, or else the photographs at hand."""
    from ..demo import scenes

    if model.labels and list(model.labels) == list(scenes.LABELS):
        return Scenes(min(model.preprocessing.size))
    photographs = package_photographs()
    if not photographs:
        raise ValueError("There are no pictures for this model here; name a folder or zip, or upload some.")
    return Photographs(photographs)
