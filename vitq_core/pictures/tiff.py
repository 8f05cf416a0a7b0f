"""What is in a TIFF that Pillow cannot read: how many values a pixel has, and of how many bits."""

from io import BytesIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

_BITS, _BANDS, _FORMAT = 258, 277, 339
_KINDS = {
    1: "",
    2: " with a sign",
    3: " in floating point",
    5: " of complex numbers",
    6: " of complex numbers",
}
_MOST = 4  # red, green, blue and transparency


def layout_sentence(data: bytes) -> str:
    """How its pixels are stored and what to save instead; empty where the file does not tell."""
    try:
        tags = ImageFileDirectory_v2(data[: 16 if data[2:4] in (b"+\0", b"\0+") else 8])  # BigTIFF: 16
        file = BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        bands, bits = int(tags.get(_BANDS, 1)), max(tags.get(_BITS, (1,)))
    except Exception:  # of damaged tags: struct.error, SyntaxError, TypeError, …
        return ""
    if bands > _MOST:
        return f"of {bands} bands; a picture has three, so save those that are to be red, green and blue"
    kind = _KINDS.get(max(tags.get(_FORMAT, (1,))), "")
    return f"of {bands} × {bits} bits{kind} for each pixel, which cannot be read; save it with 8 or 16 bits"
