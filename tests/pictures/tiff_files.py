"""TIFFs of kinds that Pillow does not write."""

import struct

import numpy as np

SHORT, LONG = 3, 4
CODES = {SHORT: "H", LONG: "I", 11: "f"}


def tiff(pixels: np.ndarray, *, order: str = "<", planar: bool = False, **tags: int) -> bytes:
    """An uncompressed TIFF of [H, W, C] of any type; `tags` such as `t262=0` are set too."""
    height, width, bands = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    plane = pixels.transpose(2, 0, 1) if planar else pixels
    data = np.ascontiguousarray(plane).astype(pixels.dtype.newbyteorder(order)).tobytes()
    size, count = len(data), bands if planar else 1
    # After the header of 8 bytes and the pixels come lists of numbers, and then the tags.
    lists, base = b"", 8 + size
    entries = {
        256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [8 * pixels.dtype.itemsize] * bands),
        259: (SHORT, [1]), 262: (SHORT, [2 if bands in (3, 4) else 1]),
        273: (LONG, [8 + size // count * plane for plane in range(count)]), 277: (SHORT, [bands]),
        278: (LONG, [height]), 279: (LONG, [size // count] * count), 284: (SHORT, [2 if planar else 1]),
        339: (SHORT, [kind] * bands),
    }  # fmt: skip
    for name, value in tags.items():
        kind = 11 if isinstance(value, float) else SHORT
        entries[int(name[1:])] = (kind, value if isinstance(value, list) else [value])
    table = struct.pack(f"{order}H", len(entries))
    for tag, (kind, numbers) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(numbers)}{CODES[kind]}", *numbers)
        if len(content) > 4:
            lists, content = lists + content, struct.pack(f"{order}I", base + len(lists))
        table += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + content.ljust(4, b"\0")
    header = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, base + len(lists))
    return header + data + lists + table + bytes(4)
