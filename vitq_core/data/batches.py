"""Pictures as callers give them, checked: one tensor, or an iterable of batches of any sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor

from ..common.batch import Batch

Collate = Callable[[object], Batch]  # what a loader gives → what a model is called with, checked


def iterated(batches: object) -> Iterator:
    """``iter(batches)``, or a ValueError. A dict is a single batch."""
    try:
        return iter((batches,) if isinstance(batches, Mapping) else batches)
    except TypeError as error:
        kind = type(batches).__name__
        raise ValueError(f"pictures must be a tensor or an iterable of batches, got {kind}") from error


def streamed(images: Tensor | Iterable, collate: Collate, batch_size: int, skip: int = 0) -> Iterator[Batch]:
    """Batches of ``batch_size`` pictures at most in order, without the first ``skip``; ``collate`` makes them
    of what is given.

    Raises ValueError for unusable pictures, as it meets them, and where there are fewer than ``skip``.
    """
    seen = skip
    for given in (images,) if isinstance(images, Tensor) else iterated(images):
        batch = collate(given)
        passed = min(skip, len(batch))
        skip -= passed
        yield from batch[passed:].split(batch_size)
    if skip:
        raise ValueError(f"there are only {seen - skip} pictures, fewer than the {seen} seen before")


def length_of(batches: object) -> int | None:
    """How many batches there are, where they know it."""
    try:
        return 1 if isinstance(batches, Mapping) else len(batches)
    except (TypeError, NotImplementedError):
        return None


class Watched:
    """Pictures as given, and how far reading them has come.

    ``images``: to read from; ``count``: how many pictures there are, None where that takes reading them.
    """

    def __init__(self, images: Tensor | Iterable) -> None:
        whole = isinstance(images, Tensor)
        self.count, self.images = (len(images), images) if whole else (None, self._watched(images))
        self._length, self._read = length_of(images), 0

    def _watched(self, batches: Iterable) -> Iterator:
        for batch in iterated(batches):
            self._read += 1
            yield batch

    def share(self, seen: int) -> float:
        """0..1, with ``seen`` pictures of the tensor done, or by the batches that were read; 0 if unknown."""
        done, total = (self._read, self._length) if self.count is None else (seen, self.count)
        return min(done / total, 1.0) if total else 0.0
