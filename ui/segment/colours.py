"""Masks as pictures: colours that people with any kind of colour vision tell apart, and stripes besides.

Orange is in full precision alone, blue in quantized alone, green in both.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy import ndarray
from PIL import Image

# (red, green, blue, opacity from 0 to 255). The hues of Okabe and Ito's palette.
NOTHING = (0, 0, 0, 0)
BOTH, FULL, QUANTIZED = (0, 158, 115), (230, 126, 0), (46, 112, 255)
OTHER = (235, 235, 245)
EDGE, AROUND = (255, 255, 255, 235), (17, 17, 17, 200)  # seen on a picture of any colour
PALETTE = (
    NOTHING, (*BOTH, 130), (*FULL, 235), (*FULL, 110), (*QUANTIZED, 235), (*QUANTIZED, 110), (*OTHER, 105),
    EDGE, (*FULL, 140), (*QUANTIZED, 140), AROUND,
)  # fmt: skip
(CLEAR, IN_BOTH, FULL_DARK, FULL_LIGHT, QUANTIZED_DARK, QUANTIZED_LIGHT, BESIDE, OUTLINE, FULL_ALONE,
 QUANTIZED_ALONE, OUTSIDE) = range(len(PALETTE))  # fmt: skip
LAYERS = ("both", "full", "quantized")
STRIPE = 5  # pixels


def layer(full: ndarray, quantized: ndarray | None, chosen: str) -> ndarray:
    """Places in `PALETTE`, uint8 [h, w], of one object's masks; `chosen`: one of `LAYERS`."""
    if chosen == "quantized" and quantized is not None:
        return _alone(quantized, QUANTIZED_ALONE)
    if chosen == "full" or quantized is None:
        return _alone(full, FULL_ALONE)
    shown = np.where(full & quantized, np.uint8(IN_BOTH), np.uint8(CLEAR))
    _stripes(shown, full & ~quantized, (FULL_DARK, FULL_LIGHT), rising=True)
    _stripes(shown, quantized & ~full, (QUANTIZED_DARK, QUANTIZED_LIGHT), rising=False)
    return _outlined(shown, full & quantized)


def under(shown: ndarray, others: list[ndarray]) -> ndarray:
    """`shown` on top of other objects' masks."""
    below = np.zeros_like(shown)
    for mask in others:
        below[mask] = BESIDE
        _outlined(below, mask)
    return np.where(shown == CLEAR, below, shown)


def _alone(mask: ndarray, colour: int) -> ndarray:
    return _outlined(np.where(mask, np.uint8(colour), np.uint8(CLEAR)), mask)


def _outlined(shown: ndarray, mask: ndarray) -> ndarray:
    """A white line inside of the mask's border and, where nothing else is, a dark one outside."""
    shown[edge(mask)] = OUTLINE
    shown[edge(~mask) & (shown == CLEAR)] = OUTSIDE
    return shown


def _stripes(shown: ndarray, where: ndarray, colours: tuple[int, int], rising: bool) -> None:
    rows, columns = np.indices(where.shape, sparse=True)
    dark = (columns + rows if rising else columns - rows) // STRIPE % 2 == 0
    shown[where & dark] = colours[0]
    shown[where & ~dark] = colours[1]


def edge(mask: ndarray) -> ndarray:
    """The pixels of a mask that touch what is not in it; the picture's own border is none."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def overlay_url(shown: ndarray) -> str:
    """A transparent PNG as a data URL."""
    picture = Image.fromarray(shown, "P")
    picture.putpalette([value for colour in PALETTE for value in colour[:3]])
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes(colour[3] for colour in PALETTE))
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def painted(picture: Image.Image, shown: ndarray) -> Image.Image:
    """The masks on the picture, which is grey beneath them; `shown` is as large as the picture."""
    grey = np.asarray(picture.convert("L"), np.float32) * 0.8
    pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    inside = shown != CLEAR
    colours = np.array(PALETTE, np.float32)[shown[inside]]
    opacity = colours[:, 3:] / 255
    pixels[inside] = grey[inside][:, None] * (1 - opacity) + colours[:, :3] * opacity
    return Image.fromarray(pixels)


def picture_url(picture: Image.Image) -> str:
    """A JPEG as a data URL."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
