"""HEIC, what iPhones write: read by the package `pillow-heif`, where that is installed."""

from functools import lru_cache
from importlib import import_module

from PIL import Image

FORMAT = "HEIF"


@lru_cache(maxsize=1)
def heic_formats() -> tuple[str, ...]:
    """Pillow's name of the format; none without the package, which is imported at the first HEIC."""
    try:
        import_module("pillow_heif").register_heif_opener(thumbnails=False)
    except ImportError:
        return ()
    return (FORMAT,) if FORMAT in Image.OPEN else ()
