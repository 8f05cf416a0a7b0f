"""What a file is, told by its name and its first bytes, and what to do with one that is no picture."""

import re
from importlib.util import find_spec

HEAD = 512  # bytes that tell
# Files with these endings are taken for pictures; one that cannot be read is named when it is come to.
ENDINGS = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
        ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpf", ".jpx", ".mpo",
    )
)  # fmt: skip
# These are not opened to find out what they are.
TEXTS = frozenset(
    (
        ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".html", ".yaml", ".yml", ".ini", ".log",
        ".py", ".db",
    )
)  # fmt: skip
HEIC, AVIF = "HEIC", "AVIF"
_BRANDS = {
    HEIC: (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    AVIF: (b"avif", b"avis"),
}
# Kinds of pictures by their first bytes. BM and P6 begin texts too, so more is asked of these.
_PICTURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    "PPM": rb"P[1-6]\s+(#|\d+\s)",
    "JPEG 2000": rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
}
# Others that people have pictures in, and what to do with these.
_OTHERS = {
    "DICOM": (rb".{128}DICM", "export the slices as PNG"),
    "pickles": (
        rb"\x80[\x02-\x05]",
        "such files (CIFAR's Python version is made of them) hold all pictures at once and can run programs "
        "when they are opened, so they are not: save the pictures as PNG in a folder for each class",
    ),
    "NumPy arrays": (rb"\x93NUMPY", "save every picture as PNG"),
    "MNIST's idx files": (rb"\0\0[\x08-\x0e][\x01-\x04]", "save every picture as PNG"),
    "HDF5": (rb"\x89HDF\r\n", "save every picture as PNG"),
    "Parquet tables": (rb"PAR1", "save every picture as PNG"),
    "archives": (rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf|BZh|\xfd7zXZ", "unpack them first"),
    "PDF": (rb"%PDF", "export the pages as PNG"),
    "Photoshop": (rb"8BPS", "export them as PNG"),
}
_WITHOUT_PLUGIN = {
    HEIC: "to read HEIC, pip install pillow-heif; or save them as JPEG or PNG",
    AVIF: "to read AVIF, pip install --upgrade pillow (11.3 or newer); or save them as JPEG or PNG",
}


def ending_of(name: str) -> str:
    """`.jpg` of `IMG_1.JPG`; empty where there is none."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if dot and stem and re.fullmatch(r"\w{1,12}", ending) else ""


def kind_of(head: bytes) -> str | None:
    """The kind of file that begins with `head` (HEAD bytes of it); None where that is unknown."""
    for kind, brands in _BRANDS.items():
        if head[4:8] == b"ftyp" and head[8:12] in brands and _another_box(head):
            return AVIF if _names_avif(head) else kind
    known = {**_PICTURES, **{kind: pattern for kind, (pattern, _) in _OTHERS.items()}}
    return next((kind for kind, pattern in known.items() if re.match(pattern, head, re.DOTALL)), None)


def is_readable(kind: str | None) -> bool:
    """Whether files of this kind are pictures that can be read here."""
    if kind == HEIC:
        return find_spec("pillow_heif") is not None
    if kind == AVIF:
        from PIL import features

        return bool(features.check("avif"))
    return kind in _PICTURES


def what_to_do(kind: str | None) -> str:
    """With files of a kind that cannot be read; empty where nothing is known."""
    if kind in _WITHOUT_PLUGIN and not is_readable(kind):
        return _WITHOUT_PLUGIN[kind]
    return _OTHERS[kind][1] if kind in _OTHERS else ""


def _another_box(head: bytes) -> bool:
    """Whether a box follows the first one, as in every whole file; what is not in `head` is believed."""
    size = int.from_bytes(head[:4], "big")
    following = head[size + 4 : size + 8]
    return size >= 16 and (len(following) < 4 or re.fullmatch(rb"[\x20-\x7e]{4}", following) is not None)


def _names_avif(head: bytes) -> bool:
    """A file whose first brand says nothing (`mif1`) lists the others."""
    brands = head[8 : int.from_bytes(head[:4], "big")]
    return any(brand in brands for brand in _BRANDS[AVIF])
