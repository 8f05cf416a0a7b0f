"""Opening a picture somebody gave us: made plain RGB as a person sees it, or refused with a sentence."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..files import given_path

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000

# What browsers and cameras write. Others stay out: PIL hands some of them (EPS) to other programs.
# A build of PIL may lack a few.
Image.init()
_WANTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
FORMATS = tuple(kind for kind in _WANTED if kind in Image.OPEN)
_READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"


def open_picture(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """The RGB picture in a file or in bytes; animations give their first frame.

    EXIF rotation is applied, transparency composited on white, 16 bits scaled to 8, palettes, grey and CMYK
    converted. Raises ValueError, one sentence that starts with `name` (the file's by default), for what is no
    picture, is empty, truncated, over 20 MB or over 50 megapixels; the last is checked before decoding.
    """
    data, name = _read(source, name)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as picture:
            _check_pixels(picture, name)
            return to_rgb(picture)
    except _Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _Refused(f"{name} has more than {MAX_PIXELS // 10**6} megapixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise _Refused(f"{name} is not a picture in a format that can be read ({_READABLE})") from error
    except Exception as error:  # decoders of damaged files raise OSError, SyntaxError, struct.error, …
        raise _Refused(f"{name} is damaged or incomplete and cannot be read as a picture") from error


class _Refused(ValueError):
    """A sentence of ours, told apart from a ValueError of a decoder."""


def _read(source: str | Path | bytes, name: str | None) -> tuple[bytes, str]:
    """The bytes and a name for messages; the size is looked at before the file is read."""
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the picture"
        _check_bytes(len(data), name)
        return data, name
    path = given_path(source, name or "the picture")
    name = name or path.name
    try:
        _check_bytes(path.stat().st_size, name)
        return path.read_bytes(), name
    except OSError as error:
        raise ValueError(f"{name} cannot be opened: {error.strerror}") from error


def _check_bytes(count: int, name: str) -> None:
    if count == 0:
        raise _Refused(f"{name} is empty; choose a picture")
    if count > MAX_BYTES:
        raise _Refused(
            f"{name} has {count / 2**20:.1f} MB; pictures may have at most {MAX_BYTES // 2**20} MB"
        )


def _check_pixels(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise _Refused(
            f"{name} has {width * height / 1e6:.0f} megapixels ({width}×{height}); "
            f"pictures may have at most {MAX_PIXELS // 10**6} megapixels"
        )


def to_rgb(picture: Image.Image) -> Image.Image:
    """Upright RGB of a picture of any mode: 16 bits scaled to 8, transparency on white, turned as EXIF says.

    Raises ValueError for floating-point pixels, which have no agreed range, and OSError for a truncated file.
    """
    picture.load()
    picture = _upright(picture)
    if picture.mode.startswith(("I", "F")):
        return _from_deep(picture)
    if picture.has_transparency_data:
        return _on_white(picture.convert("RGBA"))
    return picture.convert("RGB")


def _upright(picture: Image.Image) -> Image.Image:
    """As the EXIF orientation says; notes that are damaged do not make the picture unreadable."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # the EXIF reader raises struct.error, SyntaxError, KeyError, …
        return picture


def _from_deep(picture: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits (PIL's own conversion clips at 255), its transparent grey value white."""
    values = np.asarray(picture, dtype=np.float64)
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise _Refused(
            "the picture's pixel values are not whole numbers from 0 to 65535; save it with 8 or 16 bits"
        )
    scaled = np.round(values / 257).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled).convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")
