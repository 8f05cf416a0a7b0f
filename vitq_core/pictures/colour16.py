"""Colour of 16 bits a value, exactly: Pillow gives only the upper 8, which of 12-bit values are black."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from .depth import Declared, range_of

_WIDTH, _BITS, _ORIENTATION, _PLANES, _PREDICTOR, _TILE_WIDTH = 256, 258, 274, 284, 317, 322
_SHORT, _LONG = 3, 4
_DIFFERENCES = 2  # of each pixel from its left neighbour
_MODES = {2: "LA", 3: "RGB", 4: "RGBA"}
_COLOURS = {2: 1, 3: 3, 4: 3}  # channels that are no transparency


def is_colour16(picture: Image.Image) -> bool:
    """Whether an open PNG or TIFF has colours, or grey and transparency, of 16 bits each."""
    if picture.mode not in ("RGB", "RGBA", "RGBX", "LA"):
        return False
    if picture.format == "TIFF":
        return set(picture.tag_v2.get(_BITS, ())) == {16}
    return picture.format == "PNG" and any(";16" in str(tile[3]) for tile in picture.tile)


def read_colour16(data: bytes, picture: Image.Image, said: Declared) -> Image.Image | None:
    """The picture in 8 bits, its range told as `depth` says; None where Pillow has to read it.

    `picture`: the same file open in Pillow. Raises OSError or RuntimeError for a damaged one.
    """
    if "transparency" in picture.info or picture.mode == "RGBa":
        return None
    values = _png(data) if picture.format == "PNG" else _Tiff(data).values()
    if values is None or values.shape[2] not in _MODES:
        return None
    colours = _COLOURS[values.shape[2]]
    parts = [values[..., :colours]] + [values[..., colours:]] * (picture.mode != "RGBX")
    parts = [part for part in parts if part.shape[2]]
    scaled = [range_of([part], said if part is parts[0] else Declared()).to_bytes(part) for part in parts]
    pixels = np.concatenate(scaled, 2)
    made = Image.fromarray(pixels, _MODES[pixels.shape[2]])
    made.getexif()[_ORIENTATION] = picture.getexif().get(_ORIENTATION, 1)
    return made


def _png(data: bytes) -> np.ndarray:
    """uint16 [H, W, C]."""
    pixels = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    return pixels.permute(1, 2, 0).numpy()


class _Tiff:
    """Reads a TIFF as one of twice as many pixels of 8 bits: the same bytes, and any compression."""

    def __init__(self, data: bytes):
        self.data, self.order = bytearray(data), "<" if data[:2] == b"II" else ">"
        self.tags: dict[int, tuple[int, int, int]] = {}  # {tag: (type, count, where its entry is)}

    def values(self) -> np.ndarray | None:
        """uint16 [H, W, C]; None for kinds that are not read here."""
        if self._unpack("H", 2) != 42:  # a BigTIFF
            return None
        self._find_tags()
        differences = self._number(_PREDICTOR) == _DIFFERENCES
        tile = self._number(_TILE_WIDTH)
        for tag in (_WIDTH, _TILE_WIDTH):
            self._put(tag, 2 * (self._number(tag) or 0))
        self._put(_PREDICTOR, 1)
        self._put(_ORIENTATION, 1)  # Pillow would turn the pixels
        self._put_bits()
        with Image.open(BytesIO(self.data), formats=("TIFF",)) as picture:
            halves = np.asarray(picture)
        values = self._joined(halves, picture)
        return _summed(values, tile or values.shape[1]) if differences else values

    def _joined(self, halves: np.ndarray, picture: Image.Image) -> np.ndarray:
        height, width, channels = halves.shape
        kind = np.dtype(f"{self.order}u2")
        if picture.tag_v2.get(_PLANES) == 2:  # a plane for each channel
            planes = [np.ascontiguousarray(halves[..., c]).view(kind) for c in range(channels)]
            return np.stack(planes, 2).astype(np.uint16)
        rows = np.ascontiguousarray(halves).reshape(height, width * channels).view(kind)
        return rows.reshape(height, width // 2, channels).astype(np.uint16)

    def _find_tags(self) -> None:
        start = self._unpack("I", 4)
        for index in range(self._unpack("H", start)):
            place = start + 2 + 12 * index
            tag, kind = struct.unpack_from(f"{self.order}2H", self.data, place)
            self.tags[tag] = kind, self._unpack("I", place + 4), place

    def _unpack(self, code: str, place: int) -> int:
        return struct.unpack_from(self.order + code, self.data, place)[0]

    def _number(self, tag: int) -> int | None:
        if tag not in self.tags:
            return None
        kind, _, place = self.tags[tag]
        return self._unpack("H" if kind == _SHORT else "I", place + 8)

    def _put(self, tag: int, number: int) -> None:
        """A number in place of the one that is there; nothing where there is none."""
        if tag in self.tags:
            place = self.tags[tag][2]
            struct.pack_into(f"{self.order}HI", self.data, place + 2, _LONG, 1)
            struct.pack_into(f"{self.order}I", self.data, place + 8, number)

    def _put_bits(self) -> None:
        _, count, place = self.tags[_BITS]
        where = place + 8 if count <= 2 else self._unpack("I", place + 8)
        struct.pack_into(f"{self.order}{count}H", self.data, where, *[8] * count)


def _summed(differences: np.ndarray, tile: int) -> np.ndarray:
    """The values whose differences along a row were stored, in tiles of that many pixels."""
    parts = [
        np.cumsum(differences[:, left : left + tile], 1, dtype=np.uint16)
        for left in range(0, differences.shape[1], tile)
    ]
    return np.concatenate(parts, 1)
