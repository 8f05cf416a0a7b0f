"""Pictures to train on, decoded once into one uint8 tensor each for training and for measuring."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class PictureSet:
    """`images` uint8 [N, 3, H, W] with `labels` int64 [N], indices into `names`.

    Where it is known what the label stands on, `masks` uint8 [N, 1, H, W] is 255 there and 0 elsewhere.
    """

    images: Tensor
    labels: Tensor
    names: tuple[str, ...]
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


def load_folder_split(path: Path, split: str, size: int) -> PictureSet:
    """Read `split`/<class>/<file> (ImageFolder layout) from a folder or a zip archive.

    Pictures of another size are resized to `size`×`size`. Classes are numbered in alphabetical order.
    Raises ValueError where `path` does not hold such pictures.
    """
    images, classes = [], []
    for name, data in _files(Path(path)):
        parts = name.split("/")
        if len(parts) >= 3 and parts[-3] == split and Path(name).suffix.lower() in SUFFIXES:
            images.append(_decode(data, size))
            classes.append(parts[-2])
    if not images:
        raise ValueError(f"{path} holds no pictures named {split}/<class>/<file>")
    names = sorted(set(classes))
    number = {name: i for i, name in enumerate(names)}
    labels = torch.tensor([number[c] for c in classes])
    return PictureSet(
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous(), labels, tuple(names)
    )


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from (
            (p.relative_to(path).as_posix(), p.read_bytes()) for p in sorted(path.rglob("*")) if p.is_file()
        )
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((n, archive.read(n)) for n in sorted(archive.namelist()) if not n.endswith("/"))
    else:
        raise ValueError(f"{path} is neither a folder nor a zip archive")


def _decode(data: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        picture = picture.convert("RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        return np.asarray(picture)


def augment(images: Tensor, margin: int, generator: torch.Generator) -> Tensor:
    """Random shift by up to `margin` pixels (edges reflected) and mirroring of a uint8 batch [N, C, H, W]."""
    n, _, height, width = images.shape
    shift = torch.randint(-margin, margin + 1, (2, n, 1), generator=generator)
    rows = _reflect(torch.arange(height) + shift[0], height)
    cols = _reflect(torch.arange(width) + shift[1], width)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    cols = torch.where(mirrored, cols.flip(1), cols)
    batch = torch.arange(n)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def _reflect(index: Tensor, length: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= length, 2 * (length - 1) - index, index)


def to_float(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 [N, 3, H, W] → normalized float32."""
    shape = (1, 3, 1, 1)
    return (images.float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)
