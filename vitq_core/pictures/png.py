"""PNG without what Pillow refuses an intact picture for: profiles and texts that are larger than it likes."""

import struct
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP = b"XML:com.adobe.xmp\0"  # it may say which way is up
# Pillow's limit of one text; with a longer one it would call the picture damaged.
LONGEST_TEXT = 2**20
_UNUSED = (b"iCCP", b"zTXt", b"tEXt")


def without_texts(data: bytes) -> bytes:
    """`data` without colour profiles and texts, which nothing here uses; what is no PNG as it is."""
    if not data.startswith(SIGNATURE):
        return data
    return SIGNATURE + b"".join(chunk for kind, chunk in _chunks(data) if not _unused(kind, chunk))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, the whole chunk) of each; the last may be torn."""
    place = len(SIGNATURE)
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4].ljust(4, b"\0"))
        yield data[place + 4 : place + 8], data[place : place + size + 12]
        place += size + 12


def _unused(kind: bytes, chunk: bytes) -> bool:
    if kind in _UNUSED:
        return True
    return kind == b"iTXt" and (not chunk[8:].startswith(XMP) or len(chunk) > LONGEST_TEXT)
