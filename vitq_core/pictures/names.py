"""Names of files, folders and classes: what is the same word, and in which order people count."""

import re
import unicodedata


def composed(name: str) -> str:
    """`name` with accents in their letters (NFC): disks and zips of macOS have them as letters apart."""
    return unicodedata.normalize("NFC", name)


def plain(name: str) -> str:
    """The same for names of one word: without case, spaces, hyphens, underscores and Unicode form."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\s_-]+", " ", folded).strip()


def natural(name: str) -> tuple:
    """Sorts 2 before 10, as timm does with class folders; equal words keep one order."""
    parts = re.split(r"(\d+)", name.casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part), name


def number_of(name: str) -> int | None:
    """The whole number that a name is: `7` and `007` are 7; None for words."""
    text = name.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


LONGEST_NUMBER = 9  # digits; no model has as many classes
