"""Opening a picture somebody gave us: made plain RGB as a person sees it, or refused with a sentence."""

import stat
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..common.files import given_path
from .colour16 import is_colour16, read_colour16
from .depth import declared
from .heic import heic_formats
from .kinds import AVIF, HEAD, HEIC, kind_of, what_to_do
from .png import without_texts
from .rgb import Refused, to_rgb
from .tiff import layout_sentence

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE = 1_000_000  # PIL keeps a pointer for every row: a column of 50 megapixels would cost a gigabyte

# What browsers and cameras write. Others stay out: PIL hands some of them (EPS) to other programs.
# A build of PIL may lack a few.
Image.init()
_WANTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
FORMATS = tuple(kind for kind in _WANTED if kind in Image.OPEN)
_READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"


def open_picture(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """The RGB picture in a file or in bytes; animations give their first frame.

    EXIF rotation is applied, transparency composited on white, more than 8 bits scaled to 8 by the rule in
    `depth`, palettes, grey and CMYK converted. HEIC needs the package `pillow-heif`. Raises ValueError, one
    sentence that starts with `name` (the file's by default), for what is no picture, is a pipe or device,
    empty, truncated, over 20 MB, over 50 megapixels or over a million pixels a side; nothing is decoded to
    find out about the size.
    """
    data, name = _read(source, name)
    kind = kind_of(data[:HEAD])
    try:
        with Image.open(BytesIO(without_texts(data)), formats=_formats(kind)) as picture:
            _check_pixels(picture, name)
            return to_rgb(_exact(data, picture), name)
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(f"{name} has more than {MAX_PIXELS // 10**6} megapixels; make it smaller") from error
    except UnidentifiedImageError as error:
        raise Refused(_unknown(data, kind, name)) from error
    except Exception as error:  # decoders of damaged files raise OSError, SyntaxError, struct.error, …
        raise Refused(f"{name} is damaged or incomplete and cannot be read as a picture") from error


def _formats(kind: str | None) -> tuple[str, ...]:
    return heic_formats() or FORMATS if kind == HEIC else FORMATS


def _exact(data: bytes, picture: Image.Image) -> Image.Image:
    """`picture`, or the same of which no bits are lost."""
    said = declared(picture)
    return (read_colour16(data, picture, said) if is_colour16(picture) else None) or picture


def _unknown(data: bytes, kind: str | None, name: str) -> str:
    """Why Pillow knows no picture in it, and what would work."""
    if kind == "TIFF" and (layout := layout_sentence(data)):
        return f"{name} is a TIFF {layout}"
    if advice := what_to_do(kind):
        return f"{name} is no picture that can be read here ({kind}): {advice}"
    if kind in (HEIC, AVIF):
        return f"{name} is damaged or incomplete and cannot be read as a picture"
    return f"{name} is not a picture in a format that can be read ({_READABLE})"


def plain_picture(picture: object, caller: str) -> Image.Image:
    """`to_rgb` of an open picture; ValueError in `caller`'s name for what is none."""
    if not isinstance(picture, Image.Image):
        raise ValueError(f"{caller} takes a PIL picture, got {type(picture).__name__}")
    try:
        return to_rgb(picture)
    except OSError as error:
        raise ValueError(f"the picture is damaged or incomplete: {error}") from error


def _read(source: str | Path | bytes, name: str | None) -> tuple[bytes, str]:
    """The bytes and a name for messages; kind and size are looked at before the file is opened."""
    if isinstance(source, bytes | bytearray | memoryview):
        data, name = bytes(source), name or "the picture"
        _check_bytes(len(data), name)
        return data, name
    path = given_path(source, name or "the picture")
    name = name or path.name
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{name} is not a picture but a folder, a pipe or a device")
        _check_bytes(status.st_size, name)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # it may have grown
    except OSError as error:
        raise ValueError(f"{name} cannot be opened: {error.strerror}") from error
    _check_bytes(len(data), name)
    return data, name


def _check_bytes(count: int, name: str) -> None:
    if count == 0:
        raise Refused(f"{name} is empty; choose a picture")
    if count > MAX_BYTES:
        raise Refused(f"{name} has {count / 2**20:.1f} MB; pictures may have at most {MAX_BYTES // 2**20} MB")


def _check_pixels(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise Refused(
            f"{name} has {width * height / 1e6:.0f} megapixels ({width}×{height}); "
            f"pictures may have at most {MAX_PIXELS // 10**6} megapixels"
        )
    if max(width, height) > MAX_SIDE:
        raise Refused(f"{name} has {width}×{height} pixels; a side may have at most {MAX_SIDE:,}")
