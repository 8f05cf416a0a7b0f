"""Plain RGB, as a person sees it, from a picture of any mode; a band of rows at a time, to save memory."""

from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

from .depth import Declared, Range, declared, range_of

# What lies in memory beside the picture and its result: PIL's conversions make up to five copies.
BAND_PIXELS = 2**20
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
    """Upright RGB of a picture of any mode: more than 8 bits scaled as `depth` says, transparency on white,
    turned as EXIF says.

    It is `picture` itself where nothing has to be done. Raises ValueError, a sentence that starts with
    `name`, for floating-point pixels and others without a range, and OSError for a truncated file.
    """
    said = declared(picture)
    if picture.mode.startswith("F") and said.largest is None:
        raise _no_range(name)
    picture.load()  # which turns a TIFF, and takes away what says so
    orientation = _orientation(picture)
    # A picture from a file is copied all the same: it may keep its decoder.
    if type(picture) is Image.Image and orientation == 1 and _is_plain(picture):
        return picture
    width, height = picture.size
    values = _range(picture, said, name) if _is_deep(picture) else None
    rgb = Image.new("RGB", (height, width) if orientation in _SIDEWAYS else (width, height))
    for top, bottom in _bands(width, height):
        band = _band_to_rgb(picture.crop((0, top, width, bottom)), values)
        start = height - bottom if orientation in _UPWARDS else top
        turned = band.transpose(_TURNS[orientation]) if orientation in _TURNS else band
        rgb.paste(turned, (start, 0) if orientation in _SIDEWAYS else (0, start))
    return rgb


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode.startswith(("I", "F"))


def _range(picture: Image.Image, said: Declared, name: str) -> Range:
    width, height = picture.size
    crops = (picture.crop((0, top, width, bottom)) for top, bottom in _bands(width, height))
    found = range_of(map(np.asarray, crops), said)
    if found is None:
        raise _no_range(name)
    return found


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


def _band_to_rgb(band: Image.Image, values: Range | None) -> Image.Image:
    if values is not None:
        return _from_deep(band, values)
    if band.has_transparency_data:
        return _on_white(band.convert("RGBA"))
    return band.convert("RGB")


def _from_deep(band: Image.Image, values: Range) -> Image.Image:
    """Grey of more than 8 bits (PIL's own conversion clips at 255), its transparent value white."""
    pixels = np.asarray(band)
    scaled = values.to_bytes(pixels)
    transparent = band.info.get("transparency")
    if isinstance(transparent, int):
        scaled[pixels == transparent] = 255
    return Image.fromarray(scaled).convert("RGB")


def _no_range(name: str) -> Refused:
    return Refused(
        f"{name} has pixel values that are not whole numbers from 0 to 65535 and does not say which of them "
        "is white (SMaxSampleValue); save it with 8 or 16 bits"
    )


def _on_white(band: Image.Image) -> Image.Image:
    white = Image.new("RGBA", band.size, "white")
    return Image.alpha_composite(white, band).convert("RGB")
