"""Which value is white in a picture of more than 8 bits: cameras put 10 or 12 bits into files of 16.

The rule, for each file by itself:

1. What the file says counts: fewer than 16 bits a value (a TIFF of 12 bits), or, of floating-point and 32-bit
   TIFFs, their SMinSampleValue and SMaxSampleValue, which are black and white.
2. Else white is the largest value of the smallest of 8, 10, 12, 14 and 16 bits that holds the file's largest
   value (and SMaxSampleValue, where it says one). So values up to 4095 are 12 bits and 4095 is white.
3. Values that are all multiples of 257 are 8 bits spread over 16, however dark: 65535 is white.

A picture is only ever made brighter by 4, 16, 64 or 256, and never because it is merely dark: one of 16 bits
keeps its values as soon as one pixel is brighter than a quarter of the range. Below that nothing in a file
tells a dark photograph of 16 bits from one of 14 bits or fewer, of which there are far more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

BITS = (8, 10, 12, 14, 16)
WHOLE = 2**16 - 1
SPREAD = 257  # 65535 / 255
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
# The tags of the smallest and largest value: for whole numbers, and of any type.
_SMALLEST, _LARGEST = (340, 280), (341, 281)


@dataclass(frozen=True)
class Declared:
    """What a file says about its values; `bits` where they are fewer than 16, `inverted`: 0 is white."""

    bits: int | None = None
    smallest: float | None = None
    largest: float | None = None
    inverted: bool = False


@dataclass(frozen=True)
class Range:
    """`black` and `white` are values of the file."""

    black: float
    white: float
    inverted: bool = False

    def to_bytes(self, values: np.ndarray) -> np.ndarray:
        """uint8 of the same shape, rounded."""
        if values.dtype.kind == "u" and values.dtype.itemsize <= 2 and not self.black:
            return self._levels()[values]
        return self._scaled(np.nan_to_num(values.astype(np.float64)))

    def _levels(self) -> np.ndarray:
        return self._scaled(np.arange(WHOLE + 1, dtype=np.float64))

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        share = np.clip((values - self.black) / (self.white - self.black), 0, 1)
        return np.round(255 * (1 - share if self.inverted else share)).astype(np.uint8)


def declared(picture: Image.Image) -> Declared:
    """What an open file says, asked before its pixels are read."""
    if _spread_by_pillow(picture):
        return Declared(bits=16)
    tags = getattr(picture, "tag_v2", None)
    if tags is None:
        return Declared()
    bits = max(_numbers(tags.get(_BITS_PER_SAMPLE)), default=16)
    return Declared(
        int(bits) if 8 < bits < 16 else None,
        min(_first(tags, _SMALLEST), default=None),
        max(_first(tags, _LARGEST), default=None),
        tags.get(_PHOTOMETRIC) == 0,
    )


def range_of(bands: Iterable[np.ndarray], said: Declared) -> Range | None:
    """The range of values that come in several arrays; None where there is no telling."""
    low, high, spread = np.inf, -np.inf, True
    for values in bands:
        low, high = min(low, values.min()), max(high, values.max())
        whole = values.dtype.kind in "iu"
        spread = spread and whole and not (values % SPREAD).any()
    if not whole or low < 0 or high > WHOLE:
        return _declared_range(said)
    largest = max(high, said.largest if _is_16_bits(said.largest) else 0)
    bits = 16 if spread else said.bits or 0
    return Range(0, max(2**bits - 1, _white(largest)), said.inverted)


def _white(largest: float) -> int:
    """Of the smallest depth that holds this value."""
    return next(2**bits - 1 for bits in BITS if largest < 2**bits)


def _declared_range(said: Declared) -> Range | None:
    if said.smallest is None or said.largest is None or not said.smallest < said.largest:
        return None
    return Range(said.smallest, said.largest, said.inverted)


def _is_16_bits(value: float | None) -> bool:
    return value is not None and 0 <= value <= WHOLE


def _spread_by_pillow(picture: Image.Image) -> bool:
    """A PGM whose header names the largest value: Pillow spreads its values over 16 bits."""
    tile = getattr(picture, "tile", None)
    return picture.format == "PPM" and bool(tile) and tile[0][0] != "raw"


def _first(tags: Any, names: tuple[int, ...]) -> list[float]:
    return next((numbers for name in names if (numbers := _numbers(tags.get(name)))), [])


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, tuple) else (value,)
    numbers = [float(each) for each in values if isinstance(each, (int, float)) or hasattr(each, "numerator")]
    return [number for number in numbers if np.isfinite(number)]
