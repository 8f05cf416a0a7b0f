"""Masks as lengths of runs, in COCO's format: a column after the other, outside and inside in turn.

A mask of a photograph takes some kilobytes instead of megabytes, and two are compared without their pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

DAMAGED = "a run-length mask is damaged: {}"
MOST_PIXELS = 2**31
# A number of the compressed text is written in letters of five bits, the lowest first; a sixth says that more
# letters follow. From the fourth number on, what is written is the difference from the last but one.
BITS, FOLLOWS, FIRST_LETTER = 5, 32, ord("0")
PLAIN = 3  # numbers written as they are
MOST_SHIFT = 30  # seven letters hold the difference of any two numbers of pixels


@dataclass(frozen=True, eq=False)
class RunLengths:
    """``size`` (height, width); ``counts`` int64: pixels outside, then inside, then outside, …, column by
    column. They sum to height · width; only the first may be 0."""

    size: tuple[int, int]
    counts: ndarray = field(repr=False)

    @classmethod
    def of(cls, mask: ndarray) -> RunLengths:
        """Of a mask, bool [H, W]."""
        flat = mask.ravel(order="F")
        changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        begin = [0, 0] if flat.size and flat[0] else [0]
        edges = np.concatenate([begin, changes, [flat.size]])
        return cls(tuple(mask.shape), np.diff(edges).astype(np.int64))

    def mask(self) -> ndarray:
        """bool [H, W]."""
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(self.size, order="F")

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())

    def iou(self, other: RunLengths) -> float:
        """Intersection over union; 1 for two empty ones. Raises ValueError for masks of two sizes."""
        if self.size != other.size:
            raise ValueError(f"masks of {self.size} and {other.size} pixels cannot be compared")
        both = self._common(other)
        union = self.area + other.area - both
        return both / union if union else 1.0

    def _common(self, other: RunLengths) -> int:
        """Pixels inside both: of each run of the other, how many pixels of this one lie before its ends."""
        edges = np.concatenate([[0], np.cumsum(self.counts)])
        inside = np.where(np.arange(len(self.counts)) % 2, self.counts, 0)
        before = np.concatenate([[0], np.cumsum(inside)])
        ends = np.cumsum(other.counts)[: len(other.counts) // 2 * 2].reshape(-1, 2)
        return round(float(np.diff(np.interp(ends, edges, before)).sum()))

    def as_coco(self) -> dict[str, Any]:
        """JSON-ready, compressed: {"size": [H, W], "counts": text}."""
        return {"size": list(self.size), "counts": compressed(self.counts)}

    @classmethod
    def from_coco(cls, given: object) -> RunLengths:
        """Of :meth:`as_coco`, of text as bytes, or of a list of counts. ValueError for a damaged one."""
        if not isinstance(given, Mapping) or not {"size", "counts"} <= set(given):
            raise ValueError(DAMAGED.format(f"it needs size and counts, got {given!r:.80}"))
        size, counts = _size(given["size"]), _counts(given["counts"])
        if counts.sum() != size[0] * size[1]:
            pixels = f"{size[0]}×{size[1]}"
            raise ValueError(DAMAGED.format(f"its runs have {counts.sum()} pixels, its size is {pixels}"))
        return cls(size, counts)


def compressed(counts: ndarray) -> str:
    """COCO's text for the ``counts``."""
    numbers = np.asarray(counts, np.int64).copy()
    numbers[PLAIN:] -= np.asarray(counts)[PLAIN - 2 : -2]
    return "".join(map(_letters, numbers.tolist()))


def decompressed(text: str | bytes) -> ndarray:
    """The counts, int64, of COCO's text. ValueError for what is none."""
    counts: list[int] = []
    for number in _numbers(text):
        counts.append(number + counts[-2] if len(counts) >= PLAIN else number)
    return np.array(counts, np.int64)


def _letters(number: int) -> str:
    letters = []
    follows = True
    while follows:
        low, number = number & (FOLLOWS - 1), number >> BITS
        negative = bool(low >> (BITS - 1))  # the reader takes the last letter's highest bit for the sign
        follows = number != (-1 if negative else 0)
        letters.append(chr(FIRST_LETTER + low + FOLLOWS * follows))
    return "".join(letters)


def _numbers(text: str | bytes) -> list[int]:
    codes = [ord(letter) - FIRST_LETTER for letter in _text(text)]
    numbers, value, shift = [], 0, 0
    for code in codes:
        if not 0 <= code < 2 * FOLLOWS or shift > MOST_SHIFT:
            raise ValueError(DAMAGED.format("its counts are no text of COCO's"))
        value |= (code & (FOLLOWS - 1)) << shift
        shift += BITS
        if not code & FOLLOWS:
            numbers.append(value - (1 << shift) if value >> (shift - 1) else value)
            value, shift = 0, 0
    if shift:
        raise ValueError(DAMAGED.format("its counts break off"))
    return numbers


def _text(text: str | bytes) -> str:
    return text.decode("latin-1") if isinstance(text, bytes) else text


def _size(given: object) -> tuple[int, int]:
    whole = isinstance(given, (list, tuple)) and all(type(side) is int and side > 0 for side in given)
    if not whole or len(given) != 2 or given[0] * given[1] > MOST_PIXELS:
        raise ValueError(DAMAGED.format(f"its size must be [height, width], got {given!r:.80}"))
    return given[0], given[1]


def _counts(given: object) -> ndarray:
    """int64; those of 0 between two runs, which are allowed, are left in."""
    if isinstance(given, (str, bytes)):
        counts = decompressed(given)
    elif isinstance(given, (list, tuple)) and all(type(n) is int and 0 <= n <= MOST_PIXELS for n in given):
        counts = np.array(given, np.int64)
    else:
        raise ValueError(DAMAGED.format(f"its counts must be text or whole numbers, got {given!r:.80}"))
    if (counts < 0).any():
        raise ValueError(DAMAGED.format("a run has less than 0 pixels"))
    return counts
