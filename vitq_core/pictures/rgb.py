"""Plain RGB, as a person sees it, from a picture of any mode; a band of rows at a time, to save memory."""

from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

# What lies in memory beside the picture and its result: PIL's conversions make up to five copies.
BAND_PIXELS = 2**20
# The 8 bits for each value of 16 bits.
_LEVELS = np.round(np.arange(2**16) / 257).astype(np.uint8)
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_UPWARDS = {3, 4, 6, 7}  # the first row comes last
_SIDEWAYS = {5, 6, 7, 8}  # rows become columns


class Refused(ValueError):
    """A sentence of ours, told apart from a ValueError of a decoder."""


def to_rgb(picture: Image.Image, name: str = "the picture") -> Image.Image:
    """Upright RGB of a picture of any mode: 16 bits scaled to 8, transparency on white, turned as EXIF says.

    It is `picture` itself where nothing has to be done. Raises ValueError, a sentence that starts with
    `name`, for floating-point pixels, which have no agreed range, and OSError for a truncated file.
    """
    if picture.mode.startswith("F"):
        raise _no_range(name)
    picture.load()
    orientation = _orientation(picture)
    # A picture from a file is copied all the same: it may keep its decoder.
    if type(picture) is Image.Image and orientation == 1 and _is_plain(picture):
        return picture
    width, height = picture.size
    rgb = Image.new("RGB", (height, width) if orientation in _SIDEWAYS else (width, height))
    for top, bottom in _bands(width, height):
        band = _band_to_rgb(picture.crop((0, top, width, bottom)), name)
        start = height - bottom if orientation in _UPWARDS else top
        turned = band.transpose(_TURNS[orientation]) if orientation in _TURNS else band
        rgb.paste(turned, (start, 0) if orientation in _SIDEWAYS else (0, start))
    return rgb


def _is_plain(picture: Image.Image) -> bool:
    return picture.mode == "RGB" and not picture.has_transparency_data


def _orientation(picture: Image.Image) -> int:
    """EXIF's, 1 (upright) to 8; notes that are damaged do not make the picture unreadable."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the EXIF reader raises struct.error, SyntaxError, KeyError, …
        return 1
    return orientation if orientation in list(_TURNS) else 1


def _bands(width: int, height: int) -> Iterator[tuple[int, int]]:
    """(top, bottom) of each."""
    rows = max(BAND_PIXELS // max(width, 1), 1)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _band_to_rgb(band: Image.Image, name: str) -> Image.Image:
    if band.mode.startswith("I"):
        return _from_deep(band, name)
    if band.has_transparency_data:
        return _on_white(band.convert("RGBA"))
    return band.convert("RGB")


def _from_deep(band: Image.Image, name: str) -> Image.Image:
    """16-bit grey scaled to 8 bits (PIL's own conversion clips at 255), its transparent grey value white."""
    values = np.asarray(band)
    if values.min() < 0 or values.max() > 65535:
        raise _no_range(name)
    scaled = _LEVELS[values]
    transparent = band.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled).convert("RGB")


def _no_range(name: str) -> Refused:
    return Refused(
        f"{name} has pixel values that are not whole numbers from 0 to 65535; save it with 8 or 16 bits"
    )


def _on_white(band: Image.Image) -> Image.Image:
    white = Image.new("RGBA", band.size, "white")
    return Image.alpha_composite(white, band).convert("RGB")
